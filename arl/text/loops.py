"""Loops: a stretch of text that repeats itself, the commonest hallucination of a speech LLM.

    loop(["thank", "you", "thank", "you", "thank", "you"], 2)  # (4, 6): four units equal the one two before, up to 6

A loop of period n is a run of units in which each equals the one n before. m such units in a row are 1 + m / n
rounds, so a cut last round counts in part. The longest run is what counts, wherever it lies. Left out: loops whose
rounds differ ("thank you", "thank you so", "thank you"), and repetitions with other words between.
"""

import functools
import operator
import re
from collections.abc import Sequence

MAX_PERIOD = 64  # units; no longer round is looked for


def loop(units: Sequence[str], period: int) -> tuple[int, int]:
    """The longest run of units that equal the unit `period` before them, and where it ends; the same loop of a
    shorter period does not count: rounds of "no no" are rounds of "no"."""
    run, end = _longest(units, period)
    shorter = (n for n in range(1, period // 2 + 1) if period % n == 0)
    return (0, end) if any(_longest(units, n)[0] >= run for n in shorter) else (run, end)


def own_run(units: Sequence[str], period: int) -> int:
    """The length of `loop`."""
    return loop(units, period)[0]


def longest_run(units: Sequence[str], period: int) -> int:
    """The same, loops of a shorter period included."""
    return _longest(units, period)[0]


def _longest(units: Sequence[str], period: int) -> tuple[int, int]:
    longest, end, run = 0, min(period, len(units)), 0
    for i, (one, before) in enumerate(zip(units[period:], units, strict=False), period + 1):
        run = run + 1 if one == before else 0
        if run > longest:
            longest, end = run, i
    return longest, end


def periods(units: Sequence[str], least_rounds: float) -> list[int]:
    """The periods at which `units` can have a loop of that many rounds, shortest first; none for most texts."""
    more = least_rounds - 1  # a loop of r rounds of n units has at least (r - 1) n that are not new
    surplus = len(units) - len(set(units))
    if surplus < more:
        return []
    longest = int(min(surplus / more, len(units) / least_rounds, MAX_PERIOD))
    return [n for n in range(1, longest + 1) if sum(map(operator.eq, units[n:], units)) >= more * n]


def inside_words(words: Sequence[str], least_rounds: int) -> list[tuple[int, float]]:
    """(period, rounds) of each loop of 1 to 4 characters inside one of the words, such as "hahahahaha"."""
    surplus = least_rounds - 1  # a loop of r rounds of n characters has at least (r - 1) n that are not new
    few = [word for word in words if len(word) > surplus and len(word) - len(set(word)) >= surplus]
    if not few:
        return []
    found = [match for word in few for match in _pattern(least_rounds).finditer(word)]
    return [(len(match[1]), len(match[0]) / len(match[1])) for match in found]


@functools.cache
def _pattern(least_rounds: int) -> re.Pattern[str]:
    return re.compile(rf"(.{{1,4}}?)\1{{{least_rounds - 1},}}")
