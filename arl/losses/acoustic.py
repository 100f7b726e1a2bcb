"""What a loss on acoustic tokens sees beside its `MicroBatch`: the policy's distribution over the codebook.

A TTS policy's vocabulary holds the C codes of a codebook among other tokens. Given that the next token is a code, its
distribution is the softmax over their slice of the logits alone; the stop token and stray text tokens are not in it.
`AcousticBatch` has it for the M acoustic tokens of a micro-batch. What a mean divides by is counted over the whole
batch: `hypothesis_weights`.

Left out: where the numbers come from (arl/train/acoustic.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals


@dataclass(frozen=True)
class Codebook:
    """Which tokens are codes: `first` … `first + size − 1`; stops: ids of the tokens that end a response."""

    first: int
    size: int
    stops: tuple[int, ...]

    def is_code(self, tokens: Tensor) -> Tensor:
        """Bool, in the shape of the token ids."""
        return (tokens >= self.first) & (tokens < self.first + self.size)


@dataclass(frozen=True)
class AcousticHypothesis:
    """A hypothesis as it is known before the batch is cut into micro-batches.

    codes: how many acoustic tokens it has. text: what is to be spoken. seed: of its Gumbel noise.
    """

    codes: int
    text: str
    advantage: float
    seed: int


@dataclass(frozen=True)
class AcousticBatch:
    """The acoustic tokens of a micro-batch.

    log_probs: [M, C] over the codebook, differentiable. reference: the same of the reference policy, or None. codes:
    int64 [M], what was sampled. stop: probability of any stop token at each response token [N], no gradient.
    hypotheses: of the micro-batch, in order. weights: of each hypothesis in the mean reward, 0 where it is left out.
    """

    log_probs: Tensor
    reference: Tensor | None
    codes: Tensor
    stop: Tensor
    hypotheses: Sequence[AcousticHypothesis]
    weights: Sequence[float]

    @property
    def counts(self) -> list[int]:
        """Acoustic tokens of each hypothesis."""
        return [hypothesis.codes for hypothesis in self.hypotheses]

    @cached_property
    def chosen(self) -> list[int]:
        """Indices of the hypotheses that have a weight."""
        return [index for index, weight in enumerate(self.weights) if weight]

    @cached_property
    def chosen_tokens(self) -> Tensor:
        """Indices into [M] of the acoustic tokens of the chosen hypotheses, int64."""
        kept = torch.tensor([bool(weight) for weight in self.weights])
        return kept.repeat_interleave(torch.tensor(self.counts)).nonzero()[:, 0].to(self.codes.device)

    def kl(self, reference: Tensor) -> Tensor:
        """Σ_c p(c)·(log p(c) − log p_ref(c)) at each acoustic token, exactly, [M]."""
        return (self.log_probs.exp() * (self.log_probs - reference)).sum(-1)

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Mean over groups of the mean over hypotheses of the mean over acoustic tokens, as weights [M]."""
        sizes = [len(group) for group in lengths for _ in group]
        weights = [1.0 / (totals.groups * size * max(1, n)) for size, n in zip(sizes, self.counts, strict=True)]
        flat = torch.tensor(weights, dtype=torch.float64).repeat_interleave(torch.tensor(self.counts))
        return flat.to(self.log_probs)
