"""Importance weights of sampled tokens: the trainer's probability over that of the engine, bounded.

    weights, is_cut = Correction("mask", 0.5, 2.0)(before, sampled, lengths)

The engine samples in another precision and with other kernels than the trainer computes in, or an older version of the
policy sampled. q = p_before / p_sampled corrects the policy term of the loss for that. Unbounded it has a large
variance:

truncate: min(q, high) (Ionides 2008; truncated importance sampling).
mask:     q where low ≤ q ≤ high, else 0 (masked importance sampling: what the trainer would hardly have said teaches
          nothing); the mean's denominator keeps it.

q is a token's, or with level "sequence" the product over its hypothesis. The weights are constants of the update:
p_before is of the weights that it starts from, also when several updates follow. Left out: the KL, which is not
weighted, and `mwer`, which needs no such weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, cat, stack

from arl.losses.settings import ImportanceKind, ImportanceLevel


@dataclass(frozen=True)
class Correction:
    """How q is bounded. kind: truncate or mask; low (mask only), high: the bounds; level: token or sequence."""

    kind: ImportanceKind = "truncate"
    low: float = 0.5
    high: float = 2.0
    level: ImportanceLevel = "token"

    def __call__(self, before: Tensor, sampled: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(weights, bool: where the bounds changed q), both [N]. before, sampled: log-probabilities [N]; sizes: tokens
        of each hypothesis."""
        log_q = before.detach() - sampled
        if self.level == "sequence":
            log_q = cat([total.expand(n) for total, n in zip(per_sequence(log_q, sizes), sizes, strict=True)])
        q = log_q.exp()
        if self.kind == "mask":
            is_cut = (q < self.low) | (q > self.high)
            return q.masked_fill(is_cut, 0.0), is_cut
        return q.clamp(max=self.high), q > self.high


def per_sequence(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Per token [N] → sums per hypothesis [hypotheses]."""
    return stack([piece.sum() for piece in values.split(list(sizes))])
