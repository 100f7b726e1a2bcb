"""The lengths and counts of a whole batch, by which a loss normalises."""

from collections.abc import Sequence
from dataclasses import dataclass

Lengths = Sequence[Sequence[int]]  # per group the tokens of each hypothesis


@dataclass(frozen=True)
class Totals:
    """What the means of a loss divide by: the whole batch's groups, response tokens and hypotheses."""

    groups: int
    tokens: int
    hypotheses: int = 1
