"""What a loss sees: the response tokens of some whole groups of a batch, and what the batch's means divide by.

A micro-batch never cuts a group, so a loss may look at a token, a hypothesis or a group. Everything that a mean
divides by is counted over the whole batch beforehand, so that the losses of the parts add up to the batch's loss.

    part = Part(log_probs, old, reference, advantages, weights, lengths=[[3, 1, 7], [2, 2]])
    part.sums(log_probs)                   # [5]: log P of each hypothesis

Left out: where the numbers come from (arl/train/step.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.speech import Codebook, Speech, Spoken


@dataclass(frozen=True)
class Part:
    """Tensors [N], one entry per response token, hypothesis after hypothesis, in one dtype.

    old: log-probabilities from before the first of several updates, None on-policy; reference: of the reference policy;
    advantages: of the token's hypothesis; weights: of the token in the loss; importance: factor of the policy term,
    detached; shares: of the token in a logged mean, sum 1 over the batch (default: the weights). lengths: where the
    hypotheses end. errors: per hypothesis its word errors, first: per hypothesis the place in its group of the first
    equal one; both for `mwer`, as is totals. speech: for a `SpeechLoss`.
    """

    log_probs: Tensor
    old: Tensor | None
    reference: Tensor | None
    advantages: Tensor
    weights: Tensor
    importance: Tensor | None = None
    shares: Tensor | None = None
    lengths: Lengths = ()
    totals: Totals = field(default_factory=lambda: Totals(1, 1))
    errors: Sequence[Sequence[float]] = ()
    first: Sequence[Sequence[int]] = ()
    speech: Speech | None = None

    @cached_property
    def log_ratio(self) -> Tensor:
        """log p − log p_old of each token; on-policy 0, with the gradient of log p."""
        return self.log_probs - (self.log_probs.detach() if self.old is None else self.old)

    @cached_property
    def sizes(self) -> Tensor:
        """Tokens of each hypothesis, int64 [S]."""
        return torch.tensor([n for group in self.lengths for n in group], device=self.log_probs.device)

    @cached_property
    def is_token(self) -> Tensor:
        """The tokens in a table of hypotheses, bool [S, longest]: sums along it keep their order on every device."""
        return torch.arange(int(self.sizes.max()), device=self.sizes.device) < self.sizes[:, None]

    def sums(self, values: Tensor) -> Tensor:
        """Per token [N] → per hypothesis [S]."""
        return values.new_zeros(self.is_token.shape).masked_scatter(self.is_token, values).sum(1)

    def on_tokens(self, values: Tensor) -> Tensor:
        """Per hypothesis [S] → per token [N]."""
        return values[:, None].expand(self.is_token.shape).masked_select(self.is_token)

    def means(self, **values: Tensor) -> dict[str, float]:
        """This part's share of each mean over the batch's tokens; values [N]. One copy from the device."""
        shares = self.weights if self.shares is None else self.shares
        sums = torch.stack([(shares * value.detach()).sum() for value in values.values()])
        return dict(zip(values, sums.tolist(), strict=True))


class Loss(Protocol):
    """A loss of `arl update`. Metrics are sums over the parts of a batch, those named `…_max` maxima."""

    def token_weights(self, lengths: Lengths, batch: Totals) -> Tensor:
        """Each token's weight in the loss, float64 [N]."""

    def token_shares(self, lengths: Lengths, batch: Totals) -> Tensor:
        """Each token's share in the logged means, float64 [N], sum 1 over the batch."""

    def __call__(self, part: Part) -> tuple[Tensor, dict[str, float]]:
        """(the part's term of the loss to minimise, metrics)."""


def sequence_mean(lengths: Lengths, batch: Totals) -> Tensor:
    """Mean over groups of the mean over hypotheses of the mean over tokens, as weights float64 [N]."""
    return constant_mean(lengths, batch, None)


def constant_mean(lengths: Lengths, batch: Totals, divisor: float | None) -> Tensor:
    """Mean over groups of the mean over hypotheses of the sum over tokens / divisor, as weights float64 [N].

    Without a divisor it is the hypothesis' own length.
    """
    weights = [1.0 / (batch.groups * len(group) * (divisor or n)) for group in lengths for n in group]
    counts = torch.tensor([n for group in lengths for n in group])
    return torch.tensor(weights, dtype=torch.float64).repeat_interleave(counts)


def token_mean(lengths: Lengths, batch: Totals) -> Tensor:
    """Mean over the batch's tokens, as weights float64 [N]."""
    return torch.full((sum(map(sum, lengths)),), 1.0 / batch.tokens, dtype=torch.float64)


class SpeechLoss(ABC):
    """A `Loss` whose `Part` comes with its `speech`."""

    codebook: Codebook

    @abstractmethod
    def hypothesis_weights(self, batch: Sequence[Spoken]) -> list[float]:
        """Each hypothesis' weight in the mean reward, of the whole batch; 0: left out."""

    @abstractmethod
    def token_weights(self, lengths: Lengths, batch: Totals) -> Tensor: ...

    @abstractmethod
    def token_shares(self, lengths: Lengths, batch: Totals) -> Tensor: ...

    @abstractmethod
    def __call__(self, part: Part) -> tuple[Tensor, dict[str, float]]: ...
