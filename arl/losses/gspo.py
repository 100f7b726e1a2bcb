"""Group sequence policy optimisation (arXiv 2507.18071, eqs. 5-7): ratio and clipping of whole hypotheses.

    s_i = (P(y_i) / P_old(y_i))^(1/|y_i|) = exp(mean over its tokens of log p − log p_old)        (eq. 7)

takes the place of the token's ratio in eq. 5, the mean over groups and hypotheses of min(s·A, clip(s)·A). As s is a
geometric mean it stays far closer to 1 than a token's ratio does, hence the paper's ε of 3e-4 and 4e-4. The KL, which
the paper does without, is per token as in grpo.py, and `kl_ratio` multiplies it by the token's own ratio. With one
update per rollout s is 1 and the gradient that of GRPO. Left out: GSPO-token (eqs. 13-14), which is the same where
all tokens of a hypothesis have one advantage, as here.
"""

from dataclasses import dataclass

from torch import Tensor

from arl.losses.grpo import Grpo
from arl.losses.micro_batch import MicroBatch
from arl.losses.spec import LossSpec


@dataclass(frozen=True)
class Gspo(Grpo):
    """The parameters of `Grpo`; ε of eq. 5."""

    clip_low: float = 3e-4
    clip_high: float = 4e-4

    def ratio(self, micro: MicroBatch) -> Tensor:
        """s of the token's hypothesis [N] (eq. 7)."""
        return micro.on_tokens((micro.sums(micro.log_ratio) / micro.sizes).exp())


LOSS = LossSpec(Gspo)
