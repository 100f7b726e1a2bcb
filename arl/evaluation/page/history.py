"""The steps of a run as the page shows them: rows of `arl report`, what each record measured, rewards with intervals.

    for step in history(Path("runs/demo")):
        print(step.number, step.rewards.mean(), step.components["wer"].low)

Intervals are over the groups of a step: mean ± 1.96 standard errors of the groups' means, the hypotheses of a group
being alike. Left out: intervals of what only the update's record has (KL, entropy), which are means there.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arl.errors import ArlError
from arl.evaluation.bootstrap import Interval
from arl.evaluation.run_report import read_run, step_records
from arl.shards.columns import REWARD
from arl.shards.reader import scan_shard
from arl.shards.rows import Reward

STANDARD_ERRORS = 1.96  # half a 95 % interval


@dataclass(frozen=True)
class Step:
    """A finished step. row: of `arl report --json`. update: the update's record. components: each reward's mean over
    groups. rewards: totals of all hypotheses that have one. memory_mb: each stage's peak, of the GPU where it has one.
    no_variance: the share of groups without a reward difference, None where it is not known."""

    number: int
    row: Mapping[str, Any]
    update: Mapping[str, Any]
    components: Mapping[str, Interval]
    rewards: np.ndarray
    memory_mb: Mapping[str, float]
    no_variance: float | None


def history(run: Path) -> list[Step]:
    """All finished steps, in their order."""
    return [_step(run / f"step-{row['step']:06d}", row) for row in read_run(run)]


def _step(folder: Path, row: Mapping[str, Any]) -> Step:
    records = step_records(folder)
    components, rewards = scores(folder / "reward")
    if not components:  # the shards were removed, the means are in the record
        components = {name: Interval(mean, mean, mean) for name, mean in _recorded(records["reward"]).items()}
    groups = sum(line.get("groups", 0) for line in records["reward"])
    flat = sum(line.get("zero_spread", 0) for line in records["reward"])
    memory = {
        stage: max(line.get("device_peak_mb", line["peak_memory_mb"]) for line in lines)
        for stage, lines in records.items()
        if lines and all("peak_memory_mb" in line for line in lines)
    }
    share = flat / groups if groups else None
    return Step(row["step"], row, (records["update"] or [{}])[-1], components, rewards, memory, share)


def _recorded(lines: list[dict[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys(name for line in lines for name in line.get("component_means", {}))
    means = {name: [line["component_means"].get(name) for line in lines] for name in names}
    known = {name: [mean for mean in values if mean is not None] for name, values in means.items()}
    return {name: sum(values) / len(values) for name, values in known.items() if values}


def scores(folder: Path) -> tuple[dict[str, Interval], np.ndarray]:
    """Each component's mean over the groups of all shards in `folder`, and all totals; {} and none without shards."""
    groups: dict[str, list[float]] = {}
    totals: list[float] = []
    for path in sorted(folder.glob("*.tar")):
        stamp = path.stat()
        means, rewards = _shard_scores(path, stamp.st_mtime_ns, stamp.st_size)
        totals += rewards
        for name, values in means.items():
            groups.setdefault(name, []).extend(values)
    return {name: mean_interval(values) for name, values in groups.items()}, np.array(totals)


@functools.lru_cache(maxsize=4096)
def _shard_scores(path: Path, changed_ns: int, size: int) -> tuple[dict[str, list[float]], list[float]]:
    """Group means by component, and the totals; nothing of a shard that cannot be read. changed_ns, size: `--watch`
    reads a shard once for each state of the file."""
    means: dict[str, list[float]] = {}
    totals: list[float] = []
    try:
        rows = [Reward.of(sample) for sample in scan_shard(path, lambda extension: extension == REWARD)]
    except ArlError:  # it is being written: the record's means stand in
        return {}, []
    for row in rows:
        totals += [score for score in row.rewards if score is not None]
        for name, column in row.components.items():
            if known := [score for score in column if score is not None]:
                means.setdefault(name, []).append(sum(known) / len(known))
    return means, totals


def mean_interval(values: list[float]) -> Interval:
    """The mean of independent values and its 95 % interval by the normal approximation; a point for one value."""
    mean = float(np.mean(values))
    half = STANDARD_ERRORS * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - half, mean + half)
