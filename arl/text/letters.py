"""Texts in the letters of the character-level models: lower-case English, the space and the apostrophe.

spoken("Press \u201cone\u201d.")      # "press one"
"""

import unicodedata

from arl.errors import ArlError
from arl.text.canonical import canonical

LETTERS = " abcdefghijklmnopqrstuvwxyz'"


def spoken(text: str) -> str:
    """The text in LETTERS: lower case, punctuation as spaces, accents dropped.

    ArlError for what would be left unsaid: a digit, a sign such as & or %, a letter of another script.
    """
    kept = []
    for character in unicodedata.normalize("NFKD", canonical(text, "en").lower()):
        kind = unicodedata.category(character)
        if character in LETTERS:
            kept.append(character)
        elif kind[0] in "PZC":
            if character in "&%@#*":
                raise ArlError(f"{character!r} is not spoken by this policy: spell it out in {text!r}")
            kept.append(" ")
        elif kind != "Mn":
            raise ArlError(f"{character!r} is not spoken by this policy: spell it out in {text!r}")
    words = " ".join("".join(kept).split())
    if not words:
        raise ArlError(f"nothing to speak in {text!r}")
    return words
