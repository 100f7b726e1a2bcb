"""Loops: a stretch of text that repeats itself, the commonest hallucination of a speech LLM.

    repeats(["thank", "you", "thank", "you", "thank", "you"], 2)  # 3.0

A loop of period n is a run of units in which each equals the one n before. m such units in a row are 1 + m / n
repeats, so a cut last round counts in part. The longest run is what counts, wherever it lies. Left out: loops whose
rounds differ ("thank you", "thank you so", "thank you"), and repetitions with other words between.
"""

import re
from collections.abc import Iterator, Sequence

MAX_PERIOD = 64  # units; no longer round is looked for


def longest_run(units: Sequence[str], period: int) -> int:
    """The longest run of units that equal the unit `period` before them."""
    longest = run = 0
    for one, before in zip(units[period:], units, strict=False):
        run = run + 1 if one == before else 0
        longest = max(longest, run)
    return longest


def repeats(units: Sequence[str], period: int) -> float:
    """How often the most repeated stretch of `period` units stands in a row; 1.0 when none is repeated."""
    return 1.0 + longest_run(units, period) / period


def periods(units: Sequence[str], least_repeats: float) -> Iterator[int]:
    """The periods at which `units` can have a loop of that many repeats, shortest first; none for most texts."""
    surplus = len(units) - len(set(units))  # a loop of r rounds of n units has at least (r - 1) n that are not new
    longest = min(MAX_PERIOD, int(min(surplus / (least_repeats - 1), len(units) / least_repeats)))
    yield from range(1, longest + 1)


def inside_words(text: str, least_repeats: int) -> Iterator[tuple[int, float]]:
    """(period, repeats) of each loop of 1 to 4 characters inside a word of `text`, such as "hahahahaha"."""
    for found in _pattern(least_repeats).finditer(text):
        yield len(found[1]), len(found[0]) / len(found[1])


def _pattern(least_repeats: int) -> re.Pattern[str]:
    return re.compile(rf"(\S{{1,4}}?)\1{{{least_repeats - 1},}}")  # re keeps what it compiled
