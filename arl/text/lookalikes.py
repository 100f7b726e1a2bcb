"""Look-alikes: the letters of a language that are written with the code points of another.

    own_letters("\u0643\u064a", "fa") == "\u06a9\u06cc"   # Arabic kaf and yeh in a Persian text

By language: Arabic against Persian and Urdu letters, cedilla against comma below, eth against d with stroke, schwa,
the Turkish dotted and dotless I; points that the writing leaves out (Arabic vowel signs, Hebrew niqqud). For every
language: a word of two alphabets is written in one where each letter of the other has a twin (a Cyrillic "о" in an
English word), two vowel signs that together look like one, CJK radicals as the ideographs. Left out: whole sentences
in twins, Khmer and Burmese typing order.
"""

import functools
import re
from collections.abc import Mapping

from arl.text.scripts import LANGUAGE_SCRIPTS


def _table(old: str, new: str) -> dict[int, str | None]:
    return {ord(one): other for one, other in zip(old, new, strict=True)}


def _without(*ranges: tuple[int, int]) -> dict[int, str | None]:
    return {code: None for first, last in ranges for code in range(first, last + 1)}


ARABIC_POINTS = _without((0x0610, 0x061A), (0x064B, 0x0652), (0x0656, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06DC))
NIQQUD = _without((0x0591, 0x05BD), (0x05BF, 0x05BF), (0x05C1, 0x05C2), (0x05C4, 0x05C5), (0x05C7, 0x05C7))
PERSIAN = _table("\u064a\u0649\u0643", "\u06cc\u06cc\u06a9")  # yeh, alef maksura, kaf
DOTTED_I = _table("I\u0130", "\u0131i")
STROKE_D = _table("\u00f0\u00d0\u0256\u0189", "\u0111\u0110\u0111\u0110")
BY_LANGUAGE: dict[str, Mapping[int, str | None]] = {
    "ar": {**_table("\u06cc\u06a9\u06c1", "\u064a\u0643\u0647"), **ARABIC_POINTS},
    "fa": {**PERSIAN, **ARABIC_POINTS},
    "ur": {**PERSIAN, **_table("\u0647\u0629", "\u06c1\u06c3"), **ARABIC_POINTS},
    "ckb": {**PERSIAN},
    "ps": {**_table("\u0643", "\u06a9"), **ARABIC_POINTS},
    "he": {**NIQQUD},
    "ro": _table("\u015f\u015e\u0163\u0162", "\u0219\u0218\u021b\u021a"),
    "tr": {**_table("\u0219\u0218", "\u015f\u015e"), **DOTTED_I},
    "az": {
        **_table("\u0219\u0218", "\u015f\u015e"), **DOTTED_I,
        **_table("\u01dd\u018e\u04d9\u04d8", "\u0259\u018f\u0259\u018f"),
    },
    **dict.fromkeys(("crh", "gag"), DOTTED_I),
    **dict.fromkeys(("hr", "bs", "sr", "sl", "vi", "se"), STROKE_D),
    **dict.fromkeys(("is", "fo"), _table("\u0111\u0110\u0256\u0189", "\u00f0\u00d0\u00f0\u00d0")),
    "yo": _table("\u0329", "\u0323"),  # vertical line below, dot below
    "ja": _table("\u30d8\u30d9\u30da", "\u3078\u3079\u307a"),  # he, be, pe are one sign in both kana
}  # fmt: skip
RADICALS = _table(
    "\u2e9f\u2ea0\u2ec1\u2ec4\u2ec5\u2ec6\u2ec9\u2ecb\u2ed3\u2ed4\u2ed8\u2ed9\u2eda\u2edb\u2edc\u2edd\u2ee2\u2ee4\u2ee5\u2ee6\u2ee8\u2ee9\u2eec\u2eee\u2ef0\u2ef3",  # noqa: E501
    "母民虎西见角贝车长门青韦页风飞食马鬼鱼鸟麦黄齐齿龙龟",
)
EVERYWHERE = {**RADICALS, **_table("\u0261\u0130", "gI")}
SEQUENCES = {
    "i\u0307": "i",  # what lower case makes of the dotted capital I
    "\u0e40\u0e40": "\u0e41", "\u0ec0\u0ec0": "\u0ec1",  # Thai, Lao: e twice is ae
    "\u0905\u093e": "\u0906", "\u0905\u094b": "\u0913", "\u0905\u094c": "\u0914", "\u0905\u0949": "\u0911",
    "\u090f\u0947": "\u0910", "\u0985\u09be": "\u0986", "\u0a85\u0abe": "\u0a86",  # independent vowels in two signs
    "\u0647\u0654": "\u06c0",  # heh with hamza above
}  # fmt: skip
_SEQUENCES = re.compile("|".join(SEQUENCES))
_TONE_FIRST = re.compile("([\u0e48-\u0e4b\u0ec8-\u0ecb])([\u0e31\u0e34-\u0e37\u0e4d\u0eb1\u0eb4-\u0eb7\u0ecd])")

_LATIN_TWINS = "ABCEHIJKMOPSTXYaceijopsxyh\u0259\u018f", "ABEZHIKMNOPTYXov"
_TWINS = (  # (the alphabet's letters, Latin → its twins, its twins → Latin)
    ("\u0400-\u052f", _LATIN_TWINS[0], "АВСЕНІЈКМОРЅТХУасеіјорѕху\u04bb\u04d9\u04d8"),
    ("\u0370-\u03ff", _LATIN_TWINS[1], "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧον"),
)
ALPHABETS = tuple(
    (re.compile(f"[{span}]"), _table(latin, other), _table(other, latin)) for span, latin, other in _TWINS
)
BOTH_CASES = frozenset("aceijopsxyасеіјорѕху")  # twins in lower and in upper case
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u0259]")


def own_letters(text: str, lang: str) -> str:
    """The text with the language's own letters. lang: a code of `arl.text.tags.language`, "" when unknown."""
    if (own := BY_LANGUAGE.get(lang)) is not None:
        text = text.translate(own)
    if text.isascii():
        return text
    text = text.translate(EVERYWHERE)
    text = _SEQUENCES.sub(lambda found: SEQUENCES[found[0]], text)
    text = _TONE_FIRST.sub(r"\2\1", text)
    for alphabet, to_other, to_latin in ALPHABETS:
        if alphabet.search(text):
            one = functools.partial(_one_alphabet, lang, alphabet, to_other, to_latin)
            text = _WORD.sub(lambda found, one=one: one(found[0]), text)  # type: ignore[misc]
    return text


def _one_alphabet(
    lang: str,
    alphabet: re.Pattern[str],
    to_other: Mapping[int, str | None],
    to_latin: Mapping[int, str | None],
    word: str,
) -> str:
    """The word in the language's alphabet, where its letters of the other alphabet all have twins there."""
    other, latin = alphabet.findall(word), _LATIN.findall(word)
    is_latin = LANGUAGE_SCRIPTS.get(lang) == {"LATIN"}
    if not (other and latin):
        if other and is_latin and BOTH_CASES.issuperset(word.lower()):
            return word.translate(to_latin)
        if latin and LANGUAGE_SCRIPTS.get(lang) == {"CYRILLIC"} and BOTH_CASES.issuperset(word.lower()):
            return word.translate(to_other)
        return word
    ways = [(latin, to_other), (other, to_latin)]
    for letters, twins in reversed(ways) if is_latin else ways:
        if all(ord(letter) in twins for letter in letters):
            return word.translate(twins)
    return word
