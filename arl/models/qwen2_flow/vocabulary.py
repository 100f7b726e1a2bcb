"""The LM's one vocabulary: special tokens, characters of lower-case English, acoustic tokens. No torch.

<pad> 0, <s> 1, </s> 2 (the stop token), <speech> 3 (speech follows), <audio> 4 (never used), " " 5, "a" 6 …,
"'" 32, and from 33 on the codes of the speech tokenizer.

ids = text_ids("press one")            # [21, 23, 10, …]; ArlError for "press 1"
"""

import unicodedata

from arl.errors import ArlError

SPECIALS = ["<pad>", "<s>", "</s>", "<speech>", "<audio>"]
PAD, START, STOP, SPEECH, AUDIO = range(len(SPECIALS))
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
SYMBOLS = [*SPECIALS, *LETTERS]
ACOUSTIC_FIRST = len(SYMBOLS)
_ID = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def spoken(text: str) -> str:
    """The text in the letters that the LM knows: lower case, punctuation as spaces, accents dropped.

    ArlError for what would be left unsaid: a digit, a sign such as & or %, a letter of another script.
    """
    kept = []
    for character in unicodedata.normalize("NFKD", text.lower().replace("’", "'")):
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


def text_ids(text: str) -> list[int]:
    """Token ids of a text, as `spoken` makes it."""
    return [_ID[character] for character in spoken(text)]


def acoustic_ids(codes: list[int]) -> list[int]:
    """LM ids of codes."""
    return [ACOUSTIC_FIRST + code for code in codes]
