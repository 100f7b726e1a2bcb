"""A toy of speech in acoustic tokens: a letter is a code that begins it and one to three that go on.

speak("abc", random.Random(0))                             # [2, 3, 3, 4, 5, …]
"""

import random

CODES = 27  # of tests/tiny_tts.py
LETTER_CODES = {letter: (2 * place, 2 * place + 1) for place, letter in enumerate("abcdefghij' ")}


def speak(text: str, rng: random.Random) -> list[int]:
    """Codes of a text over the letters a to j, apostrophe and space."""
    return [
        code for letter in text for code in (LETTER_CODES[letter][0], *[LETTER_CODES[letter][1]] * rng.randint(1, 3))
    ]


def heard(codes: list[int]) -> str:
    """What a listener hears: every code that begins a letter is that letter."""
    begins = {first: letter for letter, (first, _) in LETTER_CODES.items()}
    return "".join(begins.get(code, "") for code in codes)
