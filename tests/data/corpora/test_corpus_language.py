"""The language of a transcript: stated, by `--lang`, or impossible."""

import pytest

from arl.data.corpora.language import problem_of, require_known
from arl.data.corpora.utterance import CorpusUtterance
from arl.errors import UsageError


@pytest.mark.parametrize(
    ("text", "stated", "default", "words"),
    [
        ("press one", "", "en", None), ("打开空调", "Chinese", "en", None), ("打开空调", "", "zh-CN", None),
        ("打开空调", "", "en", "states no language, and CJK letters are not those of --lang en"),
        ("12", "", "en", None), ("打开 USB", "", "en", None),
        ("press one", "Gibberish", "en", "'Gibberish' is unknown"),
        ("да", "", "", None),
    ],
)  # fmt: skip
def test_languages_that_cannot_be_are_named(text: str, stated: str, default: str, words: str | None) -> None:
    found = problem_of(CorpusUtterance("k", text, None, stated), default)
    assert found is None if words is None else words in str(found)


def test_an_unknown_lang_is_a_wrong_command_line() -> None:
    require_known("Chinese")
    with pytest.raises(UsageError, match="--lang: language 'xx' is unknown"):
        require_known("xx")
