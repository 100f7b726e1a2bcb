"""A metric: the ratio of two sums over utterances, its label, and how a number of it is written.

    METRICS = (Metric("mos", "MOS", numerator=lambda row: row["mos"], denominator=lambda row: 1),)
    ratio(table(METRICS, rows).sum(0))      # [metrics]

Rows are those of `utterances.jsonl`. As a metric is a ratio of sums, one bootstrap over utterances gives every
interval (`arl.evaluation.statistics`). An utterance that does not define a metric adds 0 to both sums.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Row = Mapping[str, Any]
Rows = Sequence[Row]
TINY = 1e-12


@dataclass(frozen=True)
class Metric:
    """Σ numerator / Σ denominator over utterances.

    form, factor: a value is shown times `factor`, in this format. test: what the permutation test compares:
    the numerators, which are whole numbers (of equal denominators), the utterances' ratios, or nothing.
    """

    name: str
    label: str
    numerator: Callable[[Row], float]
    denominator: Callable[[Row], float]
    form: str = ".2f"
    factor: float = 1.0
    test: Literal["numerators", "ratios"] | None = None

    def number(self, value: float | None, sign: str = "") -> str:
        """A value as a person reads it; - where it is not defined. sign: + shows the sign of a change."""
        return "-" if value is None else f"{value * self.factor:{sign}{self.form}}"

    def span(self, low: float | None, high: float | None, sign: str = "") -> str:
        """An interval as a person reads it; empty where it is not defined."""
        return "" if low is None else f"{self.number(low, sign)} … {self.number(high, sign)}"


def table(metrics: Sequence[Metric], rows: Rows) -> np.ndarray:
    """[utterances, metrics, 2] float64: numerator and denominator of each row."""
    pairs = [[(metric.numerator(row), metric.denominator(row)) for metric in metrics] for row in rows]
    return np.array(pairs, dtype=np.float64).reshape(len(rows), len(metrics), 2)


def ratio(sums: np.ndarray) -> np.ndarray:
    """[..., 2] → numerator / denominator [...], NaN where the denominator is 0."""
    return np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(sums[..., 1], TINY), np.nan)
