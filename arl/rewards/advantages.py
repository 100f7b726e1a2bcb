"""Group-relative advantages (arXiv 2509.18569, eq. 1): how much better a hypothesis is than its group.

    advantages([1.0, 0.0], "std")  # [0.707…, -0.707…]

std:  (R - mean) / (std + eps), the sample standard deviation (ddof 1). GRPO.
mean: R - mean. Dr. GRPO: a group's weight does not grow as its variance shrinks.
rloo: R - mean of the others = n / (n - 1) * (R - mean). An unbiased baseline.

A reward of None is excluded: it takes no part in the group's mean and has no advantage. A group with
zero reward variance, or with one reward left, teaches nothing: its advantages are 0. Pure Python; nothing is clipped.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

from arl.errors import UsageError

Kind = Literal["std", "mean", "rloo"]
KINDS: tuple[str, ...] = get_args(Kind)


def advantages(rewards: Sequence[float | None], kind: str = "std", eps: float = 1e-6) -> list[float | None]:
    """The advantages of one group, [G] like `rewards`, None where the reward is None.

    UsageError for an unknown kind or an eps that is not positive. Rewards are finite (the reward programs'
    contract refuses NaN).
    """
    if kind not in KINDS:
        raise UsageError(f"--advantage {kind}: unknown; one of {', '.join(KINDS)}")
    if not eps > 0:
        raise UsageError(f"--eps {eps}: must be above 0")
    remaining = [reward for reward in rewards if reward is not None]
    if not has_reward_variance(rewards):
        return [None if reward is None else 0.0 for reward in rewards]
    n = len(remaining)
    mean = math.fsum(remaining) / n
    scale = 1.0
    if kind == "std":
        scale = 1.0 / (math.sqrt(math.fsum((reward - mean) ** 2 for reward in remaining) / (n - 1)) + eps)
    elif kind == "rloo":
        scale = n / (n - 1)
    return [None if reward is None else (reward - mean) * scale for reward in rewards]


def has_reward_variance(rewards: Sequence[float | None]) -> bool:
    """Whether at least two different rewards remain, so that the group says which hypothesis is better."""
    return len({reward for reward in rewards if reward is not None}) > 1
