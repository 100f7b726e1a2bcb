"""DAPO's aggregation of the GRPO loss (arXiv 2503.14476, eqs. 8 and 12): every token of the batch weighs the same.

Equation 2 of arXiv 2509.18569 divides each hypothesis by its own length. That punishes a long wrong hypothesis, a loop
of repetitions for instance, little per token, and makes a one-word utterance count as much as a long one, while a
corpus' WER counts words. Here the sum over all tokens is divided by their number. With it goes "clip higher" (eq. 10),
ε_high 0.28. Advantages, KL and clipping are those of grpo.py; dynamic sampling (eq. 11) is `--gather` of `arl update`
and `DYNAMIC` of the loop, for any loss. The length penalty of the same paper (eq. 13) is
a reward program, stages/reward/overlong.py.
"""

from dataclasses import dataclass

from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.grpo import Grpo
from arl.losses.micro_batch import token_mean
from arl.losses.spec import LossSpec


@dataclass(frozen=True)
class Dapo(Grpo):
    """The parameters of `Grpo`; ε_high of eq. 10."""

    clip_high: float = 0.28

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """1 / the batch's response tokens, float64 [N]."""
        return token_mean(lengths, totals)


LOSS = LossSpec(Dapo)
