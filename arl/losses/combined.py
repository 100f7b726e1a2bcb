"""GRPO on every hypothesis and DiffRO on those that are better than their group (arXiv 2509.18569, section 5.3).

    L = L_GRPO − λ·mean over {i : A_i > 0} of R_i

At a high temperature some samples loop and never stop. Teacher forcing on them teaches the tokens of a loop, which has
no gradient that would end it; GRPO's advantages know which samples these are. `L_GRPO` has the KL of eq. 2, and its
stop token has a gradient. R is that of diffro.py, its exact KL is logged and not added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses import diffro
from arl.losses.acoustic import AcousticHypothesis, Codebook
from arl.losses.batch import Lengths, Totals
from arl.losses.diffro import Diffro, even_weights, mean_kl
from arl.losses.grpo import Grpo
from arl.losses.micro_batch import AcousticLoss, MicroBatch
from arl.losses.registry import find_loss
from arl.losses.settings import AcousticSettings, LossSettings
from arl.losses.spec import AcousticInputs, LossSpec, from_settings


@dataclass(frozen=True)
class Combined(AcousticLoss):
    """base: `Grpo` or `Dapo`, with the KL. diffro: the reward; its beta is not used. weight: λ. is_filtered: only
    hypotheses with A > 0 have a part in R; else all."""

    base: Grpo
    diffro: Diffro
    weight: float = 1.0
    is_filtered: bool = True

    @property
    def codebook(self) -> Codebook:  # type: ignore[override]
        return self.diffro.codebook

    def hypothesis_weights(self, batch: Sequence[AcousticHypothesis]) -> list[float]:
        """1 / their number for all that have a reward and, filtered, an advantage above 0."""
        return even_weights([
            self.diffro.fits(hypothesis) and (hypothesis.advantage > 0 or not self.is_filtered) for hypothesis in batch
        ])  # fmt: skip

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.base.token_weights(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.base.metric_weights(lengths, totals)

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        loss, metrics = self.base(micro)
        objective, more = self.diffro.mean_reward(micro)
        with torch.no_grad():
            logged = mean_kl(micro)[1]
        return loss - self.weight * objective, metrics | more | logged


def make(settings: LossSettings, acoustic: AcousticInputs) -> Combined:
    own = settings.acoustic or AcousticSettings()
    base = from_settings(find_loss(own.base).kind, settings)
    return Combined(base, diffro.make(settings, acoustic), own.diffro_weight, own.filter)


LOSS = LossSpec(Combined, make, trains_on="acoustic rollouts", has_base=True)
