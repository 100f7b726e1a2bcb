"""Group relative policy optimisation: equations 2-4 of arXiv 2509.18569: objective, clip, ratio.

From DeepSeekMath, arXiv 2402.03300, whose eq. 4 is the KL's estimate k3, which the paper does not write out.

The objective, maximised there and negated here, is the mean over groups of the mean over a group's hypotheses
of the mean over a hypothesis' tokens of

    min(r·A, clip(r, 1−ε_low, 1+ε_high)·A) − β·KL,     r = exp(log p − log p_old),

with KL estimated per token against the reference (k3 by default) and not multiplied by r unless told. The three means
are in per-token weights (`token_weights`) of the whole batch, so that the sum over any split into micro-batches is
the same loss. On-policy, with one update per rollout, p_old is p itself: pass `old=None`, then r = 1 exactly and
only its gradient matters. Rollouts of another policy are reweighted by `importance`, the first term only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.kl import kl_penalty
from arl.losses.micro_batch import MicroBatch, sequence_mean
from arl.losses.settings import KlEstimator
from arl.losses.spec import CLIP, LossSpec


@dataclass(frozen=True)
class Grpo:
    """clip_low, clip_high: ε of eq. 3. beta: weight of the KL in the loss; 0 needs no reference. kl: k1, k2 or k3.
    kl_ratio: the KL is multiplied by r. clip_dual: where A < 0 the first term is at least clip_dual·A; 0 is off."""

    clip_low: float = CLIP
    clip_high: float = CLIP
    beta: float = 0.1
    kl: KlEstimator = "k3"
    kl_ratio: bool = False
    clip_dual: float = 0.0

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Eq. 2's means as one weight per token, float64 [N]: 1 / (groups · the group's hypotheses · its tokens)."""
        return sequence_mean(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.token_weights(lengths, totals)

    def ratio(self, micro: MicroBatch) -> Tensor:
        """r of each token [N]."""
        return micro.log_ratio.exp()

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        ratio, advantages = self.ratio(micro), micro.advantages
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        objective = torch.minimum(ratio * advantages, clipped * advantages)
        is_clipped = clipped * advantages < ratio * advantages
        logged = {"clip_low": is_clipped & (advantages < 0), "clip_high": is_clipped & (advantages > 0)}
        if self.clip_dual:
            floor = self.clip_dual * advantages
            logged["clip_dual"] = (advantages < 0) & (objective < floor)
            objective = torch.where(logged["clip_dual"], floor, objective)
        logged |= {"clip_fraction": is_clipped, "old_kl": micro.log_ratio.exp() - micro.log_ratio - 1}
        if micro.importance is not None:
            objective = micro.importance * objective
            logged["importance"] = micro.importance
        penalty, metrics = kl_penalty(micro, self.beta, self.kl, self.kl_ratio)
        loss = penalty - (micro.weights * objective).sum()
        return loss, metrics | micro.means(**logged) | {"ratio_max": float(ratio.detach().max())}


LOSS = LossSpec(Grpo)
