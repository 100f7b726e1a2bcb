"""DAPO's aggregation of the GRPO loss (arXiv 2503.14476, section 3.3): every token of the batch weighs the same.

Equation 2 of arXiv 2509.18569 divides each hypothesis by its own length. That lets a long wrong hypothesis, a loop of
repetitions for instance, off lightly, and makes a one-word utterance count as much as a long one, while a corpus' WER
counts words. Here the sum over all tokens is divided by their number. With it goes "clip higher": ε_high 0.28.
Advantages, KL and clipping are those of grpo.py. Left out: dynamic sampling and the length penalty of the same paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.grpo import Grpo, Totals


@dataclass(frozen=True)
class Dapo(Grpo):
    """The parameters of `Grpo`."""

    clip_high: float = 0.28

    def token_weights(self, lengths: Sequence[Sequence[int]], batch: Totals) -> Tensor:
        """1 / the batch's response tokens, float64 [N]."""
        return torch.full((sum(map(sum, lengths)),), 1.0 / batch.tokens, dtype=torch.float64)
