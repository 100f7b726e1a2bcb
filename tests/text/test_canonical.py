"""Equal texts in other code points are one text: right values by hand, and what holds for any text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.canonical import canonical
from arl.text.keywords import KeywordCounts, keyword_counts
from arl.text.letters import spoken
from arl.text.normalise import normalise
from arl.text.wer import error_rate

SAME = [  # (language, one spelling, another)
    ("en", "don't go, it's late", "don\u2019t go, it\u2019s late"),
    ("en", "do not go it is late", "don\u2019t go, it\u2019s late"),
    ("en", "we're here and I'll stay", "we\u2019re here and I`ll stay"),
    ("en", "don't go", "don\u02bct go"),
    ("en", "don't go", "don\uff07t go"),
    ("uk", "комп'ютер", "комп\u02bcютер"),
    ("uz", "o'zbek", "o\u02bbzbek"),
    ("haw", "Hawai'i", "Hawai\u02bbi"),
    ("en", "this is it", "\ufeffthis is it"),
    ("en", "this is it", "\u200bthis is i\u2060t\u200e"),
    ("en", "cooperate now", "co\u00adoperate now"),
    ("en", "the cat", "th\u0008e cat\u0000"),
    ("en", "i love it", "i \u2764\ufe0f love it"),
    ("en", "turn 1 on", "turn 1\ufe0f\u20e3 on"),
    ("ar", "مرحبا بكم", "\u200fمرحبا بكم"),
    ("ar", "مرحبا", "مــرحـبا"),
    ("ar", "مرحبا", "مَرْحَبًا"),
    ("ar", "سلام لا", "\ufeb3\ufefc\ufee1 \ufefb"),
    ("ar", "كتابي", "\u06a9تاب\u06cc"),
    ("fa", "کتابی", "\u0643تاب\u064a"),
    ("fa", "می‌روم", "میروم"),
    ("fa", "۱۲۳", "123"),
    ("ur", "ہے", "\u0647\u06d2"),
    ("he", "שלום", "שָׁלוֹם"),
    ("he", "שם", "\ufb2aם"),
    ("tr", "ISPARTA İstanbul", "ısparta istanbul"),
    ("az", "QIZ", "qız"),
    ("fr", "İstanbul", "istanbul"),
    ("de", "i\u0307stanbul", "istanbul"),
    ("fr", "été", "e\u0301te\u0301"),
    ("vi", "Việt Nam", unicodedata.normalize("NFD", "Việt Nam")),
    ("ko", "한국어", unicodedata.normalize("NFD", "한국어")),
    ("ro", "știință", "\u015ftiin\u0163\u0103"),
    ("tr", "şişe", "\u0219i\u0219e"),
    ("hr", "\u0111ak", "\u00f0ak"),
    ("az", "dəniz", "d\u01ddniz"),
    ("ru", "сон", "cон"),
    ("uk", "і він", "i вiн"),
    ("en", "cooperate", "c\u043e\u043eperate"),
    ("el", "ώρα", "\u1f7dρα"),
    ("el", "μέτρο", "\u00b5έτρο"),
    ("hi", "क़लम आम", "\u0958लम अा\u092e"),
    ("bn", "\u09ce", "\u09a4\u09cd\u200d"),
    ("ml", "അവൻ", "അവന\u0d4d\u200d"),
    ("th", "แม่น้ำ", "\u0e40\u0e40ม่น\u0e4d\u0e49\u0e32"),
    ("ja", "ガラス", "ｶﾞﾗｽ"),
    ("ja", "がらす", "か\u309bらす"),
    ("ja", "ヘッド", "\u3078ッド"),
    ("zh", "打开ABC123", "打开ＡＢＣ１２３"),
    ("zh", "\u2f00人", "一人"),
    ("zh", "\u8c48", "\uf900"),
    ("", "it's", "it\u2019s"),
]  # fmt: skip


@pytest.mark.parametrize(("lang", "one", "other"), SAME)
def test_other_code_points_cost_nothing(lang, one, other):
    assert normalise(one, lang) == normalise(other, lang) != ""
    assert error_rate(one, other, lang) == error_rate(other, one, lang) == 0


@pytest.mark.parametrize(
    ("keyword", "reference", "lang"),
    [
        ("New York\u200b", "new york", "en"), ("\ufeffanna", "anna called", "en"),
        ("McDonald\u2019s", "at McDonald's", "en"),
        ("İSTANBUL", "istanbul güzel", "tr"), ("\u0643تاب", "کتاب خوب", "fa"), ("e\u0301te\u0301", "un été", "fr"),
    ],
)  # fmt: skip
def test_keywords_are_found_in_any_spelling(keyword, reference, lang):
    assert keyword_counts([keyword], reference, reference, lang) == KeywordCounts(1, 1, 1)


def test_other_letters_stay_apart():
    assert normalise("кот", "ru") != normalise("kot", "ru")
    assert normalise("box", "ru") == normalise("BOX", "ru") == "box"
    assert normalise("موسى", "ar") != normalise("موسي", "ar")
    assert normalise("ið", "is") == "ið"
    assert normalise("ஒளி", "ta") == "ஒளி"
    assert normalise("USB порт", "ru") == "usb порт"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["en", "tr", "fa", "ja", "ru", "hi", "th", ""]))
def test_composed_and_decomposed_texts_are_one(text, lang):
    known = canonical(text, lang)
    for form in ("NFC", "NFD"):
        assert canonical(unicodedata.normalize(form, text), lang) == known


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_printable_ascii_stays(text):
    kept = "".join(one for one in text if one >= " " or one in "\t\n\v\f\r\x1c\x1d\x1e\x1f").replace("\x7f", "")
    assert canonical(text, "en") == kept.replace("`", "'")


def test_what_is_spoken_is_canonical():
    assert spoken("Don\u02bct co\u00adoperate, caf\u00e9") == "don't cooperate cafe"
