"""Group relative policy optimisation: equations 2-4 of arXiv 2509.18569 (from DeepSeekMath, arXiv 2402.03300).

The objective, maximised there and negated here, is the mean over groups of the mean over a group's hypotheses
of the mean over a hypothesis' tokens of

    min(r·A, clip(r, 1−ε_low, 1+ε_high)·A) − β·KL,     r = exp(log p − log p_old),

with KL estimated per token against the reference (k3 by default) and not multiplied by r. The three means
are in per-token weights (`token_weights`) of the whole batch, so that the sum over any split into micro-batches is
the same loss. On-policy, with one update per rollout, p_old is p itself: pass `old=None`, then r = 1 exactly and
only its gradient matters. Rollouts of another policy are reweighted by `importance`, the first term only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.kl import kl_estimate


@dataclass(frozen=True)
class Totals:
    """What the means of a loss divide by: the whole batch's groups and response tokens."""

    groups: int
    tokens: int


@dataclass(frozen=True)
class Grpo:
    """clip_low, clip_high: ε of eq. 2. beta: weight of the KL in the loss; 0 needs no reference. kl: k1, k2 or k3."""

    clip_low: float = 0.2
    clip_high: float = 0.2
    beta: float = 0.1
    kl: str = "k3"

    def token_weights(self, lengths: Sequence[Sequence[int]], batch: Totals) -> Tensor:
        """Eq. 2's means as one weight per token, float64 [N]: 1 / (groups · the group's hypotheses · its tokens).

        lengths: per group the tokens of each hypothesis, of any part of the batch.
        """
        weights = [1.0 / (batch.groups * len(group) * n) for group in lengths for n in group]
        counts = torch.tensor([n for group in lengths for n in group])
        return torch.tensor(weights, dtype=torch.float64).repeat_interleave(counts)

    def __call__(
        self, log_probs: Tensor, old: Tensor | None, reference: Tensor | None, advantages: Tensor, weights: Tensor,
        importance: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
        """All [N], one entry per response token → (scalar loss to minimise, weighted sums of the logged metrics)."""
        ratio = (log_probs - (log_probs.detach() if old is None else old)).exp()
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        objective = torch.minimum(ratio * advantages, clipped * advantages)
        is_clipped = (clipped * advantages < ratio * advantages).to(weights)
        metrics = {"clip_fraction": float((weights * is_clipped).sum())}
        if importance is not None:
            objective = importance * objective
            metrics["importance"] = float((weights * importance).sum())
        if self.beta and reference is not None:
            kl = kl_estimate(log_probs, reference, self.kl)
            objective = objective - self.beta * kl
            metrics["kl"] = float((weights * kl.detach()).sum())
        loss = -(weights * objective).sum()
        return loss, metrics
