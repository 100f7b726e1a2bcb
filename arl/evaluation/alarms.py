"""Warnings that a speech policy may be gaming its reward: what listeners lose while the reward rises.

    found = alarms(rows)      # rows of arl report, in the order of the steps; those of the last one

A recogniser pays for speech that is clear to it, so a policy may hurry, flatten its pitch, say everything alike or
leave its voice, and be paid more. Each of `WATCHED` that the records have is watched by two rules, and either warns:

- trend: over the last 8 steps (at least 6), straight lines by least squares: the reward's rises, the other falls by
  5 % or more, and both slopes are over 2 standard errors from 0;
- drift, for what is too slow for that: the last 4 steps against the first 4 of the run: the reward's mean is higher,
  the other is lower by 15 % or more, and both differences are over 2 standard errors.

Noise alone does either in less than 1 of 100 steps. Left out: what nothing measures; a program that is only to watch
has the weight 0 (`--with similarity=0`).
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Any

WATCHED = {  # as the reward stage's record names it: (in words, decimals shown)
    "tokens_per_character": ("tokens per character", 2),
    "diversity.pitch": ("pitch variation", 3),
    "diversity.tokens": ("token diversity", 3),
    "similarity": ("speaker similarity", 3),
    "mos": ("predicted naturalness", 2),
}
WINDOW, FEWEST = 8, 6  # steps of the trend
TREND_FALL = 0.05  # of the line's height at its start
ENDS = 4  # steps at each end of the drift
DRIFT_FALL = 0.15
ERRORS = 2.0  # standard errors that a change must have

Change = tuple[float, float, float]  # from, to, and (to - from) in standard errors


def alarms(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The warnings at the last row. Rows have "step", "reward" and what they measured under "watched".

    Each is {"metric", "rule", "steps": [first, last], "from", "to", "reward_from", "reward_to"}; a metric that both
    rules report is there once, by its trend.
    """
    found = []
    for name in WATCHED:
        known = [row for row in rows if row.get("watched", {}).get(name) is not None and row.get("reward") is not None]
        if not known or known[-1] is not rows[-1]:
            continue
        for rule, change, steps, fall in (
            ("trend", trend, known[-WINDOW:], TREND_FALL),
            ("drift", drift, known, DRIFT_FALL),
        ):
            reward = change([row["reward"] for row in steps])
            other = change([row["watched"][name] for row in steps])
            if (
                reward
                and other
                and reward[2] > ERRORS
                and other[2] < -ERRORS
                and other[0] - other[1] >= fall * other[0]
            ):
                found.append({
                    "metric": name, "rule": rule, "steps": [steps[0]["step"], steps[-1]["step"]],
                    "from": other[0], "to": other[1], "reward_from": reward[0], "reward_to": reward[1],
                })  # fmt: skip
                break
    return found


def trend(values: Sequence[float]) -> Change | None:
    """The ends of the least-squares line, and its slope in standard errors; None for fewer than `FEWEST` values."""
    n = len(values)
    if n < FEWEST:
        return None
    middle, mean = (n - 1) / 2, fmean(values)
    squares = sum((i - middle) ** 2 for i in range(n))
    slope = sum((i - middle) * (value - mean) for i, value in enumerate(values)) / squares
    residual = sum((value - mean - slope * (i - middle)) ** 2 for i, value in enumerate(values))
    return mean - slope * middle, mean + slope * middle, _in_errors(slope, math.sqrt(residual / (n - 2) / squares))


def drift(values: Sequence[float]) -> Change | None:
    """Means of the first and the last `ENDS` values, and their difference in standard errors; None if they overlap."""
    if len(values) < 2 * ENDS:
        return None
    first, last = values[:ENDS], values[-ENDS:]
    error = math.sqrt((variance(first) + variance(last)) / ENDS)
    return fmean(first), fmean(last), _in_errors(fmean(last) - fmean(first), error)


def _in_errors(change: float, error: float) -> float:
    """change / error; a change without any error is infinitely sure, unless it is rounding."""
    if abs(change) < 1e-12:
        return 0.0
    return change / error if error > 1e-9 * abs(change) else math.copysign(math.inf, change)


def warning(alarm: Mapping[str, Any]) -> str:
    """An alarm as a line for a person."""
    words, decimals = WATCHED[alarm["metric"]]
    first, last = alarm["steps"]
    since = f"steps {first} to {last}" if alarm["rule"] == "trend" else f"since steps {first} to {first + ENDS - 1}"
    return (
        f"warning: {words} falls {alarm['from']:.{decimals}f} → {alarm['to']:.{decimals}f} "
        f"while the reward rises {alarm['reward_from']:.3f} → {alarm['reward_to']:.3f} ({since})"
    )
