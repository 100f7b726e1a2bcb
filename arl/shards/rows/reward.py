"""The reward column's row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Self

from arl.shards.columns import REWARD
from arl.shards.rows.form import are_numbers_or_nulls, is_text
from arl.shards.rows.row import Row

Scores = list[float | None]  # [G]; None: the hypothesis is excluded from its group


@dataclass(frozen=True)
class Reward(Row):
    """A group's scores: `.reward.json`, all lists [G].

    components: each program's answers by its name. rewards: the totals. advantages: None where the reward is. metrics:
    what programs say beside their reward, as "program.metric".
    """

    MEMBER: ClassVar[str] = REWARD
    REMEDY: ClassVar[str] = "score again"

    components: dict[str, Scores]
    rewards: Scores
    advantages: Scores
    metrics: dict[str, Scores] = field(default_factory=dict)

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        lists = {name: fields.get(name) for name in ("rewards", "advantages")}
        for group, name in (("components", "components."), ("metrics", "metrics.")):
            values = fields.get(group, {} if group == "metrics" else None)
            if isinstance(values, dict) and all(map(is_text, values)):
                lists |= {name + key: scores for key, scores in values.items()}
            else:
                yield f"{group!r} is not an object"
        good = {name: scores for name, scores in lists.items() if are_numbers_or_nulls(scores)}
        yield from (f"{name!r} is not a list of numbers or nulls" for name in lists if name not in good)
        size = len(next(iter(good.values()), []))
        for name, scores in good.items():
            if len(scores) != size:
                yield f"{name!r} has {len(scores)} entries for {size} hypotheses"
        pairs = zip(good.get("rewards", []), good.get("advantages", []), strict=False)
        for number, (reward, advantage) in enumerate(pairs):
            if (reward is None) != (advantage is None):
                yield f"hypothesis {number} is excluded in one of 'rewards' and 'advantages' only"

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        return cls(fields["components"], fields["rewards"], fields["advantages"], fields.get("metrics", {}))

    def to_json(self) -> dict[str, Any]:
        row = {"components": self.components, "rewards": self.rewards, "advantages": self.advantages}
        return row | {"metrics": self.metrics} if self.metrics else row

    def size_problems(self, size: int) -> Iterator[str]:
        """One line for each list that has not one entry per hypothesis of the joined rollout."""
        lists = chain({"rewards": self.rewards, "advantages": self.advantages}.items(), self._named())
        for name, scores in lists:
            if len(scores) != size:
                yield f"{name!r} has {len(scores)} entries for {size} hypotheses"

    def _named(self) -> Iterator[tuple[str, Scores]]:
        for group in ("components", "metrics"):
            yield from ((f"{group}.{name}", scores) for name, scores in getattr(self, group).items())
