"""What a loss on acoustic tokens sees beside its `MicroBatch`: the policy's distribution over the codebook.

A TTS policy's vocabulary holds the C codes of a codebook among other tokens. Given that the next token is a code, its
distribution is the softmax over their slice of the logits alone; the stop token and stray text tokens are not in it.
`AcousticBatch` has it for the M acoustic tokens of a micro-batch, in pieces that the backward pass computes again: with
CosyVoice's 6561 codes [M, C] floats are gigabytes. What a mean divides by is counted over the whole batch:
`hypothesis_weights`.

Left out: where the numbers come from (arl/train/acoustic.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from arl.losses.batch import Lengths, Totals

T = TypeVar("T")

PIECE = 1 << 22  # floats of [n, C] at a time, 16 MB; a hypothesis is never cut


@dataclass(frozen=True)
class Codebook:
    """Which tokens are codes: `first` … `first + size − 1`; stops: ids of the tokens that end a response."""

    first: int
    size: int
    stops: tuple[int, ...]

    def is_code(self, tokens: Tensor) -> Tensor:
        """Bool, in the shape of the token ids."""
        return (tokens >= self.first) & (tokens < self.first + self.size)


class CodeLogits(NamedTuple):
    """What logits over the codebook are computed from. A tuple, so that FSDP finds its tensors.

    hidden: [M, H], at the positions that predict a code. weight, bias: the codebook's rows of the LM head, [C, H], and
    [C] or None. logits: of some rows of hidden, weight and bias → [n, C], float32 or float64, at the rollout's
    temperature.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    logits: Callable[[Tensor, Tensor, Tensor | None], Tensor]

    def log_probs(self) -> Tensor:
        """Log-probabilities over the codebook, [M, C], differentiable."""
        return self.logits(self.hidden, self.weight, self.bias).log_softmax(-1)

    def at(self, tokens: Tensor) -> "CodeLogits":
        """At some of the acoustic tokens, indices int64."""
        return self._replace(hidden=self.hidden[tokens])

    def split(self, sizes: Sequence[int]) -> "list[CodeLogits]":
        """At so many of the acoustic tokens each."""
        return [self._replace(hidden=hidden) for hidden in self.hidden.split(list(sizes))]


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

    policy, reference: their logits over the codebook; None without a reference. codes: int64 [M], what was sampled.
    stop: probability of any stop token at each response token [N], no gradient. hypotheses: of the micro-batch, in
    order. weights: of each hypothesis in the mean reward, 0 where it is left out.
    """

    policy: CodeLogits
    reference: CodeLogits | None
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

    def kl(self, reference: CodeLogits) -> Tensor:
        """Σ_c p(c)·(log p(c) − log p_ref(c)) at each acoustic token, exactly, [M]."""
        sizes = [sum(self.counts[piece]) for piece in pieces(self.counts, len(reference.weight))]
        pairs = zip(self.policy.split(sizes), reference.split(sizes), strict=True)
        return torch.cat([recomputed(exact_kl, *pair) for pair in pairs])

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Mean over groups of the mean over hypotheses of the mean over acoustic tokens, as weights [M]."""
        sizes = [len(group) for group in lengths for _ in group]
        weights = [1.0 / (totals.groups * size * max(1, n)) for size, n in zip(sizes, self.counts, strict=True)]
        flat = torch.tensor(weights, dtype=torch.float64).repeat_interleave(torch.tensor(self.counts))
        return flat.to(self.stop)


def exact_kl(policy: CodeLogits, reference: CodeLogits) -> Tensor:
    """Of policy and reference, [M]."""
    own = policy.log_probs()
    return (own.exp() * (own - reference.log_probs())).sum(-1)


def pieces(counts: Sequence[int], size: int) -> list[slice]:
    """Cuts hypotheses of `counts` acoustic tokens each: as many as have PIECE floats, at `size` a token, or one."""
    found, start, held = [], 0, 0
    for place, count in enumerate(counts):
        if place > start and (held + count) * size > PIECE:
            found.append(slice(start, place))
            start, held = place, 0
        held += count
    return [*found, slice(start, len(counts))]


def recomputed(function: Callable[..., T], *arguments: object) -> T:
    """function(*arguments), of which nothing but the result is kept: the backward pass computes it again."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
