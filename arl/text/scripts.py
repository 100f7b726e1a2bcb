"""Scripts: which writing systems a text uses, and how long a human needs at least to say it.

    scripts("Москва and 東京") == {"CYRILLIC", "LATIN", "CJK"}
    speech_s("as fast as can be")  # 13 letters: 0.43 s

A character's script is the first word of its Unicode name, which is right for every script that is written by people.
A character of Han, kana or hangul is a syllable or more, a letter of another script about one sound; marks,
punctuation and spaces take no time. Left out: transliteration.
"""

import functools
import string
import unicodedata

LETTERS_PER_S = 30.0  # 7 words of 4.3 letters: auctioneers and the end of an advertisement
SYLLABLES_PER_S = 12.0  # of Han, kana, hangul characters and digits: above the fastest Japanese and Korean speech

SYLLABIC = frozenset({"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL", "YI"})
DIGIT = "digit"
HAN = r"[\u3400-\u9fff\U00020000-\U0003ffff]"  # a pattern of one unified ideograph

_HAN, _KANA = frozenset({"CJK", "BOPOMOFO"}), frozenset({"HIRAGANA", "KATAKANA"})
_OWN = {
    "LATIN": "en fr es pt it de nl sv da no nb nn fi et lv lt pl cs sk sl hr bs hu ro tr az uz id ms vi tl fil sw af "
             "ca eu gl cy ga is mt sq so ha yo ig zu xh sr",
    "CYRILLIC": "ru uk be bg mk sr kk ky mn tg uz az",
    "ARABIC": "ar fa ur ps sd ug ckb",
    "DEVANAGARI": "hi mr ne sa",
    "HANGUL": "ko", "THAI": "th", "LAO": "lo", "KHMER": "km", "MYANMAR": "my", "GREEK": "el", "HEBREW": "he yi iw",
    "ARMENIAN": "hy", "GEORGIAN": "ka", "BENGALI": "bn as", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn",
    "MALAYALAM": "ml", "GUJARATI": "gu", "GURMUKHI": "pa", "ORIYA": "or", "SINHALA": "si", "ETHIOPIC": "am ti",
    "TIBETAN": "bo dz",
}  # fmt: skip
LANGUAGE_SCRIPTS: dict[str, frozenset[str]] = {
    **{
        lang: frozenset(name for name, written in _OWN.items() if lang in written.split())
        for langs in _OWN.values() for lang in langs.split()
    },
    "zh": _HAN, "cmn": _HAN, "yue": _HAN, "ja": _HAN | _KANA,
}  # fmt: skip
"""The scripts in which a language is written today."""


@functools.lru_cache(maxsize=1 << 16)
def script(character: str) -> str:
    """The script of a letter, "digit" for a number, "" for everything else."""
    kind = unicodedata.category(character)
    if kind[0] == "N":
        return DIGIT
    if kind[0] != "L":
        return ""
    word = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    return "CJK" if word == "IDEOGRAPHIC" else word


def scripts(text: str) -> set[str]:
    """The scripts of the letters of a text."""
    return {script(character) for character in set(text)} - {"", DIGIT}


def speech_s(text: str, of: frozenset[str] | set[str] | None = None) -> float:
    """The seconds that the fastest speaker needs for `text`; of: count only letters in these scripts (None: all)."""
    if of is None and text.isascii():
        spoken = text.encode().translate(None, _SILENT)
        letters = len(spoken.translate(None, _DIGITS))
        return letters / LETTERS_PER_S + (len(spoken) - letters) / SYLLABLES_PER_S
    return sum(map(_SECONDS.__getitem__, text if of is None else (c for c in text if script(c) in of)))


_DIGITS = string.digits.encode()
_SILENT = bytes(code for code in range(128) if not chr(code).isalnum())  # of ASCII


class _Seconds(dict[str, float]):
    """Character → the least time to say it; filled as characters are seen."""

    def __missing__(self, character: str) -> float:
        name = script(character)
        syllabic = name in SYLLABIC or name == DIGIT
        self[character] = 0.0 if not name else 1 / (SYLLABLES_PER_S if syllabic else LETTERS_PER_S)
        return self[character]


_SECONDS = _Seconds()
