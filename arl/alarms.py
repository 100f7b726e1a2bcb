"""Whether a run pleases its reward at the cost of what nobody rewards: warnings of `arl report` and the loop.

    alarms([watched(folder) for folder in steps])    # ["similarity fell 0.81 → 0.72 over 8 steps while the reward …"]

The rule: over the last 8 steps (from the 8th on) a straight line is fitted to the mean reward and to each figure that
is watched. One warns where the reward rises and the figure falls, each by more than 2.5 times the standard deviation
of its values around its line (of two series that only scatter this happens in about one step of 1,000), and the
figure by more than 5 % of where its line begins. Left out: figures that no reward program of the run has measured.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

WINDOW = 8  # steps
CLEARLY = 2.5  # times the scatter around the line
SHARE = 0.05  # of the fitted value at the window's begin
REWARD = "reward"
SECOND = re.compile(r"^(\w+)-\d+\b")  # diversity-2: the second program of that name
WATCHED = {  # name: the component, or the metric, of a reward program
    "tokens per character": "duration.tokens_per_character",
    "F0 std": "diversity.pitch",
    "token diversity": "diversity.tokens",
    "similarity": "similarity",
}


def watched(step: Path) -> dict[str, float]:
    """The mean reward and the watched figures of a step folder, over its shards; only what its reward record has."""
    from arl.stage import read_record

    sums: dict[str, list[float]] = {}
    for shard in read_record(step / "reward"):
        means = {**shard.get("component_means", {}), **shard.get("metric_means", {})}
        known = {SECOND.sub(r"\1", name): value for name, value in means.items()}
        found = {REWARD: shard.get("reward_mean"), **{name: known.get(place) for name, place in WATCHED.items()}}
        for name, value in found.items():
            if value is not None:
                pair = sums.setdefault(name, [0.0, 0.0])
                pair[0] += value * shard["hypotheses"]
                pair[1] += shard["hypotheses"]
    return {name: above / below for name, (above, below) in sums.items() if below}


def alarms(steps: Sequence[Mapping[str, float]]) -> list[str]:
    """Warnings at the last of these steps, which `watched` has read, in order; none before the 8th."""
    window = steps[-WINDOW:]
    if len(window) < WINDOW or any(REWARD not in step for step in window):
        return []
    start, end, scatter = trend([step[REWARD] for step in window])
    if end - start <= max(CLEARLY * scatter, 1e-9):
        return []
    rose = f"while the reward rose {start:.3g} → {end:.3g}"
    found = []
    for name in WATCHED:
        if all(name in step for step in window):
            first, last, around = trend([step[name] for step in window])
            if first - last > max(CLEARLY * around, SHARE * abs(first), 1e-9):
                found.append(f"{name} fell {first:.3g} → {last:.3g} over {WINDOW} steps {rose}")
    return found


def trend(values: Sequence[float]) -> tuple[float, float, float]:
    """The least-squares line's first and last value, and the standard deviation of the values around it (ddof 2)."""
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    slope = sum((i - middle) * value for i, value in enumerate(values)) / sum((i - middle) ** 2 for i in range(n))
    squares = sum((value - mean - slope * (i - middle)) ** 2 for i, value in enumerate(values))
    return mean - slope * middle, mean + slope * middle, (squares / (n - 2)) ** 0.5
