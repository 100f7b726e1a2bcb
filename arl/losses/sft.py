"""Supervised fine-tuning: cross-entropy of the reference transcript (teacher forcing), mean over the batch's tokens."""

from dataclasses import dataclass

from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.micro_batch import MicroBatch, token_mean
from arl.losses.spec import NO_IMPORTANCE, LossSpec


@dataclass(frozen=True)
class Sft:
    """Its micro-batches hold the log-probabilities of the reference tokens. weight: of the whole loss."""

    weight: float = 1.0

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """1 / the batch's response tokens, float64 [N]."""
        return token_mean(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.token_weights(lengths, totals)

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        return -self.weight * (micro.weights * micro.log_probs).sum(), {}


LOSS = LossSpec(
    Sft,
    trains_on="transcripts",
    refuses={
        "gather": "has no rewards whose variance could choose groups",
        "importance": NO_IMPORTANCE,
        "ce": "is this cross-entropy",
    },
)
