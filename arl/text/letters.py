"""Texts in the letters of the character-level models: lower-case English, the space and the apostrophe.

spoken("Press \u201cone\u201d.")      # "press one"
readable("[breath]你好, Ann")   # "ni hao ann"
"""

import re
import unicodedata

from arl.errors import ArlError
from arl.text.canonical import canonical
from arl.text.scripts import HAN

LETTERS = " abcdefghijklmnopqrstuvwxyz'"
MARKS = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")  # <|endofprompt|>, <strong>, [breath]


class Unspoken(ArlError):
    """A text that LETTERS do not say."""


def spoken(text: str) -> str:
    """The text in LETTERS: lower case, punctuation as spaces, accents dropped.

    Unspoken for what would be left out: a digit, a sign such as & or %, a letter of another script.
    """
    kept = []
    for character in unicodedata.normalize("NFKD", canonical(text, "en").lower()):
        kind = unicodedata.category(character)
        if character in LETTERS:
            kept.append(character)
        elif kind[0] in "PZC":
            if character in "&%@#*":
                raise Unspoken(f"{character!r} is not spoken by this policy: spell it out in {text!r}")
            kept.append(" ")
        elif kind != "Mn":
            raise Unspoken(f"{character!r} is not spoken by this policy: spell it out in {text!r}")
    words = " ".join("".join(kept).split())
    if not words:
        raise Unspoken(f"nothing to speak in {text!r}")
    return words


def readable(text: str) -> str:
    """What a recogniser of letters reads where the text is said: as `spoken`, but marks in angle or square brackets are
    left out, and Chinese characters are Mandarin syllables without tones (`arl.text.pinyin`).

    Unspoken as `spoken`; ArlError for Chinese where pypinyin is not installed.
    """
    text = MARKS.sub(" ", text)
    if re.search(HAN, text := canonical(text, "zh" if re.search(HAN, text) else "en")):
        from arl.text.pinyin import syllables

        text = syllables(text)
    return spoken(text)
