import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.text.scripts import LANGUAGE_SCRIPTS, script, scripts, speech_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Москва and 東京", {"CYRILLIC", "LATIN", "CJK"}),
        ("ひらカタ々ー", {"HIRAGANA", "KATAKANA", "CJK"}),
        ("한국어 हिन्दी ภาษาไทย العربية", {"HANGUL", "DEVANAGARI", "THAI", "ARABIC"}),
        ("12 %! ,…", set()),
        ("naïve Ærø", {"LATIN"}),
    ],
)
def test_scripts_by_hand(text, expected):
    assert scripts(text) == expected


def test_marks_and_digits_are_no_letters():
    assert (script("ि"), script("7"), script("七"), script("\u0301"), script(" ")) == ("", "digit", "CJK", "", "")


def test_the_least_time_to_say_a_text():
    assert speech_s("as fast as can be") == pytest.approx(13 / 30)
    assert speech_s("東京 2020") == pytest.approx(6 / 12)
    assert speech_s("東京 Tokyo", {"LATIN"}) == pytest.approx(5 / 30)
    assert speech_s("") == 0.0


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_counted_at_once_as_letter_by_letter(text):
    """A letter beyond ASCII makes the slow way."""
    assert speech_s(text) == pytest.approx(speech_s(text + "é") - 1 / 30, abs=1e-9)


def test_languages_have_the_scripts_they_are_written_in():
    assert LANGUAGE_SCRIPTS["ja"] > LANGUAGE_SCRIPTS["zh"] - {"BOPOMOFO"}
    assert LANGUAGE_SCRIPTS["uz"] == {"LATIN", "CYRILLIC"}
    for lang, text in {"en": "x", "ru": "ж", "hi": "क", "ko": "한", "th": "ก", "el": "λ", "am": "ሰ"}.items():
        assert scripts(text) <= LANGUAGE_SCRIPTS[lang]
