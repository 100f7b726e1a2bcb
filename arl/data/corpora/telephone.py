"""Prompts as telephone systems say them, from templates: "please enter the number of your account".

One random generator fills every template in turn and then picks one, so that equal seeds give equal prompts.
"""

import functools
import random
import re
from typing import Any


def _words(text: str) -> list[str]:
    return text.split()


VERBS = _words(
    "call dial cancel change check choose confirm create delete disable enable end enter find finish forward hear join "
    "leave listen lock mute open pause play press record remove repeat reply save say select send set skip start stop "
    "transfer unlock"
)
NOUNS = _words(
    "account address agent call caller channel code conference directory extension folder greeting group line list "
    "mailbox menu message minute name number office operator option participant party password person phone queue "
    "recording room sales service system time user voice volume"
)
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = _words("january february march april may june july august september october november december")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def prompt(rng: random.Random) -> str:
    """One prompt of lower-case words."""

    def number(value: int) -> str:
        return _cardinal(value, rng.choice(["", "and"]))

    def digit() -> str:
        return number(rng.randint(0, 9))

    def digits(count: int) -> str:
        return " ".join(digit() for _ in range(count))

    def letter() -> str:
        return rng.choice(LETTERS)

    verb, noun, other = rng.choice(VERBS), rng.choice(NOUNS), rng.choice(NOUNS)
    filled = [
        f"to {verb} the {noun} press {digit()}",
        f"{verb} your {noun}",
        f"your {noun} is {digits(rng.randint(1, 5))}",
        f"there are {number(rng.randint(2, 120))} {_plural(noun)} in the {other}",
        digits(rng.randint(1, 6)),
        number(rng.choice([rng.randint(10, 99), rng.randint(100, 9999)])),
        f"please {verb} the {noun} of your {other}",
        f"the {noun} has no {other}",
        f"{verb} {_plural(noun)} or {rng.choice(VERBS)} {_plural(other)}",
        f"{noun} {other}",
        f"for {noun} {other} {verb} {digit()} now",
        f"at {number(rng.randint(1, 12))} {number(rng.randint(10, 59))} {rng.choice(['a m', 'p m'])}",
        f"{rng.choice(DAYS)} {rng.choice(MONTHS)} {_ordinal(rng.randint(1, 31))}",
        f"you cannot {verb} this {noun} right now",
        f"{letter()} {letter()} {letter()}",
    ]
    return " ".join(rng.choice(filled).split())


@functools.cache
def _inflect() -> Any:
    import inflect  # takes seconds to import, and checks the type of every call

    return inflect.engine()


@functools.cache
def _cardinal(value: int, andword: str) -> str:
    return re.sub(r"[^a-z ]", " ", _inflect().number_to_words(value, andword=andword)).strip()


@functools.cache
def _plural(noun: str) -> str:
    return _inflect().plural(noun)


@functools.cache
def _ordinal(value: int) -> str:
    return _inflect().number_to_words(_inflect().ordinal(value)).replace("-", " ")
