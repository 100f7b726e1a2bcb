"""What a loss sees: the response tokens of a micro-batch, and what the means over the whole batch divide by.

A micro-batch never cuts a group, so a loss may look at a token, a hypothesis or a group. Everything that a mean
divides by is counted over the whole batch beforehand, so that the losses of the micro-batches add up to that of the
batch.

    micro = MicroBatch(log_probs, old, reference, advantages, weights, lengths=[[3, 1, 7], [2, 2]])
    micro.sums(log_probs)                  # [5]: log P of each hypothesis

Left out: where the numbers come from (arl/train/step.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from arl.losses.acoustic import AcousticBatch, AcousticHypothesis, Codebook
from arl.losses.batch import Lengths, Totals


@dataclass(frozen=True)
class MicroBatch:
    """Tensors [N], one entry per response token, hypothesis after hypothesis, in one dtype.

    old: log-probabilities from before the first of several updates, None on-policy. reference: those of the reference
    policy, None without a KL. advantages: of the token's hypothesis. weights: of the token in the loss. importance:
    factor of the policy term, detached. metric_weights: of the token in a logged mean, sum 1 over the batch (default:
    the weights). lengths: tokens of each hypothesis, by group. errors [groups][G]: word errors of each hypothesis.
    duplicate_of [groups][G]: index in its group of the first hypothesis with the same tokens. totals, errors and
    duplicate_of are for `mwer`. acoustic: for an `AcousticLoss`.
    """

    log_probs: Tensor
    old: Tensor | None
    reference: Tensor | None
    advantages: Tensor
    weights: Tensor
    importance: Tensor | None = None
    metric_weights: Tensor | None = None
    lengths: Lengths = ()
    totals: Totals = field(default_factory=lambda: Totals(1, 1))
    errors: Sequence[Sequence[float]] = ()
    duplicate_of: Sequence[Sequence[int]] = ()
    acoustic: AcousticBatch | None = None

    @cached_property
    def log_ratio(self) -> Tensor:
        """log p − log p_old of each token; on-policy 0, with the gradient of log p."""
        return self.log_probs - (self.log_probs.detach() if self.old is None else self.old)

    @cached_property
    def sizes(self) -> Tensor:
        """Tokens of each hypothesis, int64 [hypotheses]."""
        return torch.tensor([n for group in self.lengths for n in group], device=self.log_probs.device)

    @cached_property
    def is_token(self) -> Tensor:
        """The tokens as a table, bool [hypotheses, longest]: sums along it keep their order on every device."""
        return torch.arange(int(self.sizes.max()), device=self.sizes.device) < self.sizes[:, None]

    def sums(self, values: Tensor) -> Tensor:
        """Per token [N] → sums per hypothesis [hypotheses]."""
        return values.new_zeros(self.is_token.shape).masked_scatter(self.is_token, values).sum(1)

    def on_tokens(self, values: Tensor) -> Tensor:
        """Per hypothesis [hypotheses] → per token [N]."""
        return values[:, None].expand(self.is_token.shape).masked_select(self.is_token)

    def means(self, **values: Tensor) -> dict[str, float]:
        """This micro-batch's term of each mean over the batch's tokens; values [N]. One copy from the device."""
        weights = self.weights if self.metric_weights is None else self.metric_weights
        sums = torch.stack([(weights * value.detach()).sum() for value in values.values()])
        return dict(zip(values, sums.tolist(), strict=True))


class Loss(Protocol):
    """A loss of `arl update`. Metrics are sums over the micro-batches of a batch, those named `…_max` maxima."""

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Each token's weight in the loss, float64 [N]."""

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Each token's weight in the logged means, float64 [N], sum 1 over the batch."""

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        """(the micro-batch's term of the loss to minimise, metrics)."""


def sequence_mean(lengths: Lengths, totals: Totals) -> Tensor:
    """Mean over groups of the mean over hypotheses of the mean over tokens, as weights float64 [N]."""
    return constant_mean(lengths, totals, None)


def constant_mean(lengths: Lengths, totals: Totals, divisor: float | None) -> Tensor:
    """Mean over groups of the mean over hypotheses of the sum over tokens / divisor, as weights float64 [N].

    Without a divisor it is the hypothesis' own length.
    """
    weights = [1.0 / (totals.groups * len(group) * (divisor or n)) for group in lengths for n in group]
    counts = torch.tensor([n for group in lengths for n in group])
    return torch.tensor(weights, dtype=torch.float64).repeat_interleave(counts)


def token_mean(lengths: Lengths, totals: Totals) -> Tensor:
    """Mean over the batch's tokens, as weights float64 [N]."""
    return torch.full((sum(map(sum, lengths)),), 1.0 / totals.tokens, dtype=torch.float64)


class AcousticLoss(ABC):
    """A `Loss` on acoustic tokens: its `MicroBatch` has `acoustic`."""

    codebook: Codebook

    @abstractmethod
    def hypothesis_weights(self, batch: Sequence[AcousticHypothesis]) -> list[float]:
        """Each hypothesis' weight in the mean reward, of the whole batch; 0: left out."""

    @abstractmethod
    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor: ...

    @abstractmethod
    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor: ...

    @abstractmethod
    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]: ...
