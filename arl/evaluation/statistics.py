"""Intervals of metrics, and changes of metrics between two evaluations A and B of the same utterances.

    intervals(METRICS, rows, seed=0)["wer"]
    Pair.of(METRICS, rows, baseline, seed=0).changes()["wer"]["change_low"]

All metrics of a set are of the same bootstrap draws of utterances; changes are paired, both systems on the same draw.
Left out: a correction for looking at many sets or many metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arl.evaluation.bootstrap import SAMPLES, Interval, bootstrap_sums, flat, interval_of
from arl.evaluation.metric import Metric, Rows, ratio, table
from arl.evaluation.significance import paired_p_value, paired_p_value_of_ratios

Change = dict[str, float | None]  # a, b, change, change_low, change_high; p where the metric is tested


def intervals(metrics: Sequence[Metric], rows: Rows, seed: int) -> dict[str, Interval | None]:
    """Each metric by its name with its 95 % interval; None where nothing defines it."""
    sums = table(metrics, rows)
    values, draws = ratio(sums.sum(0)), ratio(bootstrap_sums(sums, SAMPLES, seed))
    return {metric.name: interval_of(values[i], draws[:, i]) for i, metric in enumerate(metrics)}


@dataclass(frozen=True)
class Pair:
    """Two evaluations, row by row the same utterances: B (new) and A (old), the baseline.

    new, old: [utterances, metrics, 2], numerators and denominators. draws: [draws, 2, metrics, 2], their sums (new,
    then old) over the same bootstrap draws of utterances.
    """

    metrics: tuple[Metric, ...]
    new: np.ndarray
    old: np.ndarray
    draws: np.ndarray

    @classmethod
    def of(cls, metrics: tuple[Metric, ...], rows: Rows, baseline: Rows, seed: int) -> "Pair":
        new, old = table(metrics, rows), table(metrics, baseline)
        return cls(metrics, new, old, bootstrap_sums(np.stack([new, old], axis=1), SAMPLES, seed))

    def changes(self) -> dict[str, Change]:
        """{"a", "b", "change", "change_low", "change_high"} of each metric, nulls where A or B does not define it, and
        "p" of a metric that is tested."""
        return {metric.name: self._change(place) for place, metric in enumerate(self.metrics)}

    def _change(self, place: int) -> Change:
        a, b = (float(ratio(one[:, place].sum(0))) for one in (self.old, self.new))
        draws = ratio(self.draws[:, 0, place]) - ratio(self.draws[:, 1, place])
        values = {"a": a if np.isfinite(a) else None, "b": b if np.isfinite(b) else None}
        return values | flat("change", interval_of(b - a, draws)) | self._p_value(place)

    def _p_value(self, place: int) -> Change:
        test, new, old = self.metrics[place].test, self.new[:, place], self.old[:, place]
        if test == "numerators":
            return {"p": paired_p_value(new[:, 0], old[:, 0])}
        return {"p": paired_p_value_of_ratios(ratio(new), ratio(old))} if test == "ratios" else {}
