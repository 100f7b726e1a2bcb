"""The evaluation of synthesised speech: how `summary.json` and a comparison hold its metrics.

summarise(SYNTHESIS, rows, seed=0)["mos"], compare(SYNTHESIS, rows, baseline, seed=0)["mos"]["p"]
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arl.errors import ArlError
from arl.evaluation.bootstrap import SAMPLES, bootstrap_sums, flat, interval_of
from arl.evaluation.metric import Row, Rows, ratio
from arl.evaluation.options import EvalOptions, Measured
from arl.evaluation.render import Block, Summary
from arl.evaluation.statistics import Pair, intervals
from arl.evaluation.synthesis import show
from arl.evaluation.synthesis.metrics import METRICS, SECONDS
from arl.evaluation.synthesis.run import measure


class Synthesis:
    """Waveforms against the texts that they speak, of all hypotheses of each utterance."""

    name = "synthesis"
    fields = ("key", "reference", "hyps", "sums")
    metrics = METRICS

    def measure(self, options: EvalOptions, out: Path) -> Measured:
        return measure(options, out)

    def require(self, rows: Rows) -> None:
        if not rows:
            raise ArlError("eval: no utterance")

    def summary(self, rows: Rows, seed: int) -> dict[str, Any]:
        """Each metric with its 95 % interval: {name, name_low, name_high}, nulls where nothing defines it."""
        found = intervals(METRICS, rows, seed)
        summary: dict[str, Any] = {"utterances": len(rows), "hypotheses": sum(len(row["hyps"]) for row in rows)}
        for metric in METRICS:
            summary |= flat(metric.name, found[metric.name])
        return summary

    def comparison(self, pair: Pair, rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
        """Every metric's change by its name, and "duration_ratio": seconds of B / seconds of A with its interval, over
        utterances that have both."""
        result: dict[str, Any] = {**pair.changes()}
        seconds = METRICS.index(SECONDS)
        means = np.stack([ratio(pair.new[:, seconds]), ratio(pair.old[:, seconds])], axis=1)  # [utterances, 2]
        means = means[np.isfinite(means).all(1)]
        if len(means):
            draws = ratio(bootstrap_sums(means, SAMPLES, seed))
            result |= flat("duration_ratio", interval_of(float(ratio(means.sum(0))), draws))
        return result

    def summary_blocks(self, summary: Summary, width: int) -> Iterator[Block]:
        return show.summary_blocks(summary)

    def report(self, summary: Summary, rows: Rows) -> str:
        return show.page(summary, rows)

    def comparison_blocks(self, name: str, one: Summary) -> Iterator[Block]:
        return show.comparison_blocks(name, one)

    def most_changed(self, rows: Rows, baseline: Sequence[Row], top: int) -> list[tuple[Row, Row]]:
        """None: hypotheses are samples, not pairs."""
        return []

    def changed_blocks(self, a: Row, b: Row, width: int) -> Iterator[Block]:
        return iter(())


SYNTHESIS = Synthesis()
