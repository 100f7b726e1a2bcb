"""Metrics of an experiment with several arms and seeds, and their places in pages and pictures.

    pooled(sums), change(sums, base_sums)        # sums: [seeds, utterances, 2], numerator and denominator of a metric

A metric is pooled over the seeds of an arm. Its 95 % interval is by bootstrap over utterances and seeds: a draw takes
utterances and, independently, seeds with replacement. S seeds that are drawn from S have (S − 1)/S of the variance of
their mean, so what a draw of seeds deviates by is multiplied by √(S/(S − 1)). Changes, against the base or another arm,
are of the same draw of utterances, and of seeds each its own. With three seeds an interval knows little of how seeds
vary: each seed's own value belongs beside it. Left out: correction for having several arms.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arl.errors import ArlError
from arl.evaluation.bootstrap import SAMPLES, Interval, interval_of
from arl.evaluation.metric import ratio
from arl.evaluation.render import markdown_table


def find_runs(runs: Path, names: Iterable[str], target: str) -> dict[str, list[Path]]:
    """By arm the evaluations RUNS/ARM/SEED/final, in the order of `names`. ArlError when there are none: the make
    target that makes them is named."""
    found: dict[str, list[Path]] = {}
    for path in sorted(runs.glob("*/*/final/summary.json")):
        found.setdefault(path.parent.parent.parent.name, []).append(path.parent)
    if not found:
        raise ArlError(f"{runs}: no finished run; `make {target}` makes them")
    order = dict.fromkeys([*(name for name in names if name in found), *found])
    return {name: found[name] for name in order}


def bootstrap_sums(sums: np.ndarray, seed: int, stream: int = 1) -> np.ndarray:
    """[seeds, utterances, 2] → [draws, 2]: means over drawn seeds of sums over drawn utterances. The utterances of a
    draw depend only on `seed` and how many there are, so that two arms are paired; the seeds on `stream`, too."""
    n_seeds, n_utterances, _ = sums.shape
    weights = np.random.default_rng(seed).multinomial(n_utterances, np.full(n_utterances, 1 / n_utterances), SAMPLES)
    picks = np.random.default_rng(seed + stream).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), SAMPLES)
    shares = 1 / n_seeds + widening(n_seeds) * (picks - 1) / n_seeds  # of each seed in the mean, sum 1
    per_seed = np.einsum("du,suc->dsc", weights.astype(float), sums.astype(float), optimize=True)
    return np.einsum("ds,dsc->dc", shares, per_seed)


def widening(n_seeds: int) -> float:
    """√(S/(S − 1)); 1 for one seed, of whose variation nothing is known."""
    return math.sqrt(n_seeds / (n_seeds - 1)) if n_seeds > 1 else 1.0


def pooled(sums: np.ndarray, seed: int = 0) -> Interval | None:
    """A metric over all seeds and utterances, with its interval; None where it is not defined. Of numerators that are
    never negative, as counts, no draw is below 0, where widening may bring it."""
    least = 0.0 if sums[..., 0].min() >= 0 else -math.inf
    return interval_of(float(ratio(sums.mean(0).sum(0))), np.maximum(ratio(bootstrap_sums(sums, seed)), least))


def change(sums: np.ndarray, base: np.ndarray, seed: int = 0) -> Interval | None:
    """(value − base) / base, on the same utterances; None where the base is 0 or not defined. base: [seeds,
    utterances, 2] of the starting policy, or of another arm."""
    value, start = (float(ratio(each.mean(0).sum(0))) for each in (sums, base))
    if not start > 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = ratio(bootstrap_sums(sums, seed)) / ratio(bootstrap_sums(base, seed, stream=2)) - 1
    return interval_of(value / start - 1, draws)


def each_seed(sums: np.ndarray) -> list[float]:
    """The metric of each seed by itself."""
    return [float(ratio(one.sum(0))) for one in sums]


def against_each_other(arms: Sequence[tuple[str, Sequence[np.ndarray]]], heads: Sequence[str]) -> str:
    """A Markdown table of each arm against each one before it: relative changes in per cent with their intervals; ""
    for a single arm. arms: label, and for each of `heads` the sums of a metric."""
    rows = [
        [name, other, *(cell(change(own, base), "+.1f") for own, base in zip(sums, before, strict=True))]
        for place, (name, sums) in enumerate(arms)
        for other, before in arms[:place]
    ]
    return markdown_table(["policy", "against", *heads], rows) if rows else ""


def cell(interval: Interval | None, form: str = ".2f", factor: float = 100) -> str:
    """'38.21 (33.54 … 43.27)'."""
    if interval is None:
        return "–"
    value, low, high = (format(factor * each, form) for each in (interval.value, interval.low, interval.high))
    return f"{value} ({low} … {high})"


def place(text: str, page: Path, begin: str, end: str) -> None:
    """Writes the text between a page's marks, or the text alone where the page has none or is not there."""
    before, opened, rest = (page.read_text(encoding="utf-8") if page.exists() else "").partition(begin)
    _, closed, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}{end}{after}" if opened and closed else text, encoding="utf-8")


def draw_changes(axis: Any, arms: Sequence[np.ndarray], base: np.ndarray) -> float:
    """On matplotlib's axes a row for each arm's sums, the first at 0: its change against the base with its interval,
    and a dot for each seed, in per cent. Returns the metric of the base."""
    (start,) = each_seed(base)
    for row, sums in enumerate(arms):
        found = change(sums, base)
        if found is not None:
            error = 100 * np.array([[found.value - found.low], [found.high - found.value]])
            axis.errorbar(100 * found.value, row, xerr=np.maximum(error, 0), fmt="s", capsize=3, color="C0")
        dots = [100 * (value / start - 1) for value in each_seed(sums)]
        axis.plot(dots, [row + 0.18] * len(dots), ".", color="C1")
    axis.axvline(0, color="grey", linewidth=0.8)
    return start
