"""Runs of what normalisation drops: symbols, blanks, invisible characters, fillers. Nobody says them, and a recogniser
that has collapsed writes nothing else.

    symbol_rounds(symbol_runs("off" + "!" * 40)) == 40
    swallowed_rounds("um uh um off um", "en") == 3
"""

import re
from collections.abc import Iterator, Sequence

from arl.text.loops import inside_words, loop, periods
from arl.text.normalise import normalise

LONGEST_ROUND = 8  # characters
UNSPOKEN = r"[\W_\u0640\u115f\u1160\u3164\uffa0]"  # tatweel and the fillers of Hangul are letters by category
LOOP = 6  # rounds: no shorter loop of words is looked at
SHORTEST_RUN = 9  # characters: no shorter one is looked at
_RUN = re.compile(f"{UNSPOKEN}{{{SHORTEST_RUN},}}")
_ROUNDS = re.compile(rf"(.{{1,{LONGEST_ROUND}}}?)\1{{2,}}", re.DOTALL)
FILLERS = frozenset({"hmm", "mm", "mhm", "mmm", "uh", "um"})  # what Whisper's normaliser drops
_FILLERS = re.compile(rf"(?:\b(?:{'|'.join(sorted(FILLERS))})\b[\W_]*)+", re.IGNORECASE)
_WORD = re.compile(r"\w+")
# of ASCII, where a table is quicker than a pattern: every other character becomes a space
_SPOKEN = bytes(code if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_IN_WORDS = bytes(code if code == ord("_") else _SPOKEN[code] for code in range(256))


def symbol_runs(text: str) -> list[str]:
    """The stretches of the text without letters and digits, those of 9 characters or more."""
    if text.isascii() and b" " * SHORTEST_RUN not in text.encode().translate(_SPOKEN):
        return []
    return _RUN.findall(text)


def words_of(text: str) -> list[str]:
    """The words, as the pattern `\\w+` finds them."""
    if text.isascii():
        return text.encode().translate(_IN_WORDS).decode().split()
    return _WORD.findall(text)


def symbol_rounds(runs: Sequence[str]) -> float:
    """How often one to eight characters of a run stand in a row, at most; 0 without a loop."""
    found = (match for run in runs for match in _ROUNDS.finditer(run))
    return max((len(match[0]) / len(match[1]) for match in found), default=0.0)


def swallowed_rounds(text: str, lang: str) -> float:
    """How often a word, several words or digits stand in a row that the English normaliser makes less of than one
    character a round: "um um um", "minus minus", 000; a stretch of mixed fillers counts by its words."""
    if lang != "en":
        return 0.0
    text = text.lower()
    units = words_of(text)
    rounds = [] if FILLERS.isdisjoint(units) else [float(_fillers(text))]
    if len(units) - len(set(units)) >= LOOP - 1:  # what a loop has that is not new
        rounds += _swallowed_words(text, units, lang)
    if inside_words(units, LOOP):
        rounds += _swallowed_digits(units, lang)
    return max(rounds, default=0.0)


def _fillers(text: str) -> int:
    """The words of the longest stretch of fillers."""
    return max(len(_WORD.findall(match[0])) for match in _FILLERS.finditer(text))


def _swallowed_words(text: str, units: list[str], lang: str) -> Iterator[float]:
    """The rounds of each loop of words that loses them."""
    for period in periods(units, LOOP):
        run, end = loop(units, period)
        rounds, words = 1 + run / period, list(_WORD.finditer(text))
        segment = text[words[end - run - period].start() : words[end - 1].end()]
        if run and len(normalise(segment, lang)) < rounds:
            yield rounds


def _swallowed_digits(units: list[str], lang: str) -> Iterator[float]:
    """The rounds of each loop of characters in a word that loses them."""
    for word in units:
        for _, rounds in inside_words([word], LOOP):
            if len(normalise(word, lang)) < rounds:
                yield rounds
