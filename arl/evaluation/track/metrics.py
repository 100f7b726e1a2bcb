"""A run as points for a tracker: (step, numbers by name), in the order of the steps.

train/    of the update: reward, kl, entropy, length, grad_norm, lr, …; sample_wer, the samples' word error rate
reward/   each component's mean
watched/  what the alarms watch
seconds/  wall seconds of each stage
eval/     every number of the summary of an evaluation, intervals included
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arl.evaluation.run_report import component_means, evaluations, read_run, step_records

NO_METRICS = ("step", "made", "stale", "steps", "samples")  # numbers of the record that say nothing of the policy


def points(run: Path, step: int | None = None) -> Iterator[tuple[int, dict[str, float]]]:
    """Every finished step and evaluation, or those of one step; the evaluation of the start comes with step 1."""
    held_out = {number: of_summary(summary) for number, summary in evaluations(run).items()}
    rows = {row["step"]: of_step(run / f"step-{row['step']:06d}", row) for row in read_run(run, step)}
    wanted = {*rows, *held_out} if step is None else {step} | ({0} if step == 1 else set())
    for number in sorted(wanted):
        if values := rows.get(number, {}) | held_out.get(number, {}):
            yield number, values


def of_step(folder: Path, row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a finished step. row: of `arl report --json`."""
    records = step_records(folder)
    names = {name for line in records["reward"] for name in line.get("component_means", {})}
    update = {name: value for name, value in records["update"][-1].items() if name not in NO_METRICS}
    found = numbers("train", update) | numbers("train", {"sample_wer": row.get("sample_wer")})
    found |= numbers("reward", component_means(records["reward"], names))
    return found | numbers("watched", row.get("watched", {})) | numbers("seconds", row["seconds"])


def of_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    return numbers("eval", summary)


def numbers(group: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite, by "group/name"."""
    return {
        f"{group}/{name}": float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
