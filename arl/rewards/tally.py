"""What `arl reward` counts: groups, exclusions and means, for its record and its closing line.

tally = ScoreTally.of(rows); total += tally; note(summary(total.figures() | {"failed": 0}))
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from arl.rewards.advantages import has_reward_variance
from arl.shards.rows import Reward

METRIC = "metric "  # no component's name has a space


@dataclass
class ScoreTally:
    """Counts over groups, for `stage.jsonl` and the closing line. Tallies add up."""

    groups: int = 0
    hypotheses: int = 0
    excluded: int = 0
    zero_spread: int = 0
    sums: dict[str, float] = field(
        default_factory=dict
    )  # by component; "": the reward; "metric ": then a metric's name
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterable[Reward]) -> "ScoreTally":
        """Of the rows of a shard."""
        tally = cls()
        for row in rows:
            tally.groups += 1
            tally.hypotheses += len(row.rewards)
            tally.excluded += row.rewards.count(None)
            tally.zero_spread += not has_reward_variance(row.rewards)
            metrics = {METRIC + name: values for name, values in row.metrics.items()}
            for name, values in {**row.components, "": row.rewards, **metrics}.items():
                there = [value for value in values if value is not None]
                tally.sums[name] = tally.sums.get(name, 0.0) + sum(there)
                tally.counts[name] += len(there)
        return tally

    def __add__(self, other: "ScoreTally") -> "ScoreTally":
        names = [*self.sums, *(name for name in other.sums if name not in self.sums)]
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in names}
        counts = Counter(self.counts)
        counts.update(other.counts)
        return ScoreTally(
            self.groups + other.groups,
            self.hypotheses + other.hypotheses,
            self.excluded + other.excluded,
            self.zero_spread + other.zero_spread,
            sums,
            counts,
        )

    def figures(self) -> dict[str, Any]:
        """Counts, and the means of reward, components and metrics over the hypotheses with one (None if none has)."""
        means = {name: self.sums[name] / n if n else None for name, n in self.counts.items()}
        metrics = {name.removeprefix(METRIC): means.pop(name) for name in list(means) if name.startswith(METRIC)}
        return {
            "groups": self.groups, "hypotheses": self.hypotheses, "excluded": self.excluded,
            "zero_spread": self.zero_spread, "reward_mean": means.pop("", None), "component_means": means,
            "metric_means": metrics,
        }  # fmt: skip


def summary(figures: dict[str, Any]) -> str:
    """The closing line on stderr."""

    def shown(mean: float | None) -> str:
        return "none" if mean is None else f"{mean:.4f}"

    means = ", ".join(f"{name} {shown(mean)}" for name, mean in figures["component_means"].items())
    return (
        f"reward: {figures['groups']} groups, {figures['hypotheses']} hypotheses, "
        f"mean reward {shown(figures['reward_mean'])} ({means}), "
        f"{figures['zero_spread']} groups with zero reward variance, {figures['excluded']} hypotheses excluded"
    )
