"""The learning rate of each optimizer step. Imports no torch.

    Schedule(1e-5, warmup=10, kind="cosine", total=100).at(0)   # 1e-6

Left out: who counts the steps (learner.py).
"""

import math
from dataclasses import dataclass

from arl.train.settings import ScheduleKind


@dataclass(frozen=True)
class Schedule:
    """Learning rate per step of a run: linear warm-up over `warmup` steps, then constant, or cosine to 0 at `total`."""

    lr: float
    warmup: float = 0
    kind: ScheduleKind = "constant"
    total: int = 0

    def at(self, step: int) -> float:
        """step counts from 0: the rate of the (step+1)-th optimizer step."""
        rate = self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr
        if self.kind == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total)))
        return rate
