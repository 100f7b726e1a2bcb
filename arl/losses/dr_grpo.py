"""Dr. GRPO (arXiv 2503.20783, section 3.2): the GRPO loss without its two normalisations.

A hypothesis' tokens are summed and divided by a constant, the same for all hypotheses, instead of by its own length;
and the advantage is R − mean, without the standard deviation: `arl reward --advantage mean` makes it, this file does
not. The sum is then an unbiased policy gradient: long wrong hypotheses are punished in full, and groups that are nearly
solved or nearly hopeless do not weigh more. The constant only scales the loss against β·KL (which it divides as well)
and `--max-norm`. Left out: refusing advantages of another kind.
"""

from dataclasses import dataclass

from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.grpo import Grpo
from arl.losses.micro_batch import constant_mean, token_mean
from arl.losses.spec import LossSpec


@dataclass(frozen=True)
class DrGrpo(Grpo):
    """The parameters of `Grpo`, and divisor: tokens that a hypothesis' sum is divided by, the paper's MAX_TOKENS."""

    divisor: float = 256.0

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """1 / (groups · the group's hypotheses · divisor), float64 [N]."""
        return constant_mean(lengths, totals, self.divisor)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """The weights do not sum to 1, so what is logged is a mean over the batch's tokens."""
        return token_mean(lengths, totals)


LOSS = LossSpec(DrGrpo)
