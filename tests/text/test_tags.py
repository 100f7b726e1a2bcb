"""Languages by any name are one code; what nobody knows is refused."""

import subprocess
import sys

import pytest

from arl.errors import ArlError
from arl.text.tags import language, problem
from arl.text.wer import error_rate

SPOKEN = "宋朝末年定居粉岭围"
HEARD = "宋朝末年定居分岭为"


@pytest.mark.parametrize(
    "name",
    [
        "zh", "zh-CN", "zh_TW", "ZH", " zh ", "zho", "chi", "cmn", "cmn_hans_cn", "zho_Hans", "Chinese", "Mandarin",
        "mandarin", "Mandarin Chinese", "Chinese (Simplified)", "<|zh|>", "<|ZH|>", "zh_CN.UTF-8", "中文",
    ],
)  # fmt: skip
def test_chinese_by_any_name_counts_characters(name):
    assert language(name) == "zh"
    assert error_rate(SPOKEN, HEARD, name) == pytest.approx(2 / 9)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Cantonese", "yue"), ("yue_hant_hk", "yue"), ("jpn", "ja"), ("Japanese", "ja"), ("日本語", "ja"),
        ("tha", "th"), ("thai", "th"), ("English", "en"), ("eng", "en"), ("en-US", "en"), ("<|en|>", "en"),
        ("eng_Latn", "en"),
        ("iw", "he"), ("fas", "fa"), ("Farsi", "fa"), ("arb", "ar"), ("ger", "de"), ("deu", "de"), ("lao", "lo"),
        ("khm", "km"), ("mya", "my"), ("Burmese", "my"), ("Norwegian Bokmål", "nb"), ("haitian creole", "ht"),
        ("sr-Latn", "sr"), ("pt-br", "pt"), ("", ""), ("und", ""), ("wuu", "wuu"),
    ],
)  # fmt: skip
def test_one_code_for_every_name(name, code):
    assert language(name) == code
    assert language(code) == code


@pytest.mark.parametrize("name", ["xx", "cn", "jp", "unknown", "auto", "None", "zh/en", "qaa", "x-own", "12", "?"])
def test_what_nobody_knows_is_refused(name):
    with pytest.raises(ArlError, match="is unknown; give a code"):
        language(name)
    assert "is unknown" in str(problem(name))


def test_a_problem_is_a_line_or_none():
    assert problem(None) is problem("") is problem("Chinese") is None
    assert problem(3) == "3 is not a language"


def test_an_unstated_language_counts_characters_where_words_are_not_written_apart():
    assert error_rate(SPOKEN, HEARD, "") == pytest.approx(2 / 9)
    assert error_rate("it is late", "it was late", "") == pytest.approx(1 / 3)


def test_common_codes_need_no_library():
    code = "import sys; from arl.text.tags import language; language('zh-CN'); print('langcodes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
