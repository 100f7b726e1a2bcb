"""The LM's one vocabulary: special tokens, characters of lower-case English, acoustic tokens. No torch.

<pad> 0, <s> 1, </s> 2 (the stop token), <speech> 3 (speech follows), <audio> 4 (never used), " " 5, "a" 6 …,
"'" 32, and from 33 on the codes of the speech tokenizer.

ids = text_ids("press one")            # [21, 23, 10, …]; ArlError for "press 1"
"""

from arl.text.letters import LETTERS, spoken

SPECIALS = ["<pad>", "<s>", "</s>", "<speech>", "<audio>"]
PAD, START, STOP, SPEECH, AUDIO = range(len(SPECIALS))
SYMBOLS = [*SPECIALS, *LETTERS]
ACOUSTIC_FIRST = len(SYMBOLS)
_ID = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def text_ids(text: str) -> list[int]:
    """Token ids of a text, as `spoken` makes it."""
    return [_ID[character] for character in spoken(text)]


def acoustic_ids(codes: list[int]) -> list[int]:
    """LM ids of codes."""
    return [ACOUSTIC_FIRST + code for code in codes]
