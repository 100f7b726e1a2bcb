"""Minimum word error rate training (arXiv 1712.01818, the N-best approximation of section 3.2).

The expected word errors of an utterance over its group, taken as an n-best list, minus their mean:

    L = Σ_i P̂_i · (W_i − W̄),     P̂_i = P(y_i) / Σ_j P(y_j),     W̄ = mean of W,

averaged over the batch's groups. P(y) is the product of the token probabilities, not normalised by length. A list
holds a hypothesis once: of equal token sequences, which sampling yields and a beam does not, the first one stands for
all, in the sums and in W̄; otherwise likely hypotheses would weigh by the square of their probability. P̂ is of the
present policy, whoever proposed the list, so there is no ratio, no clipping and no importance weight; groups of
equal errors have zero loss. The KL of grpo.py may be added. Left out: the paper's λ·CE on the reference transcript,
which rollout and reward shards do not carry; the KL keeps the policy near its start instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.kl import kl_penalty
from arl.losses.micro_batch import MicroBatch, sequence_mean
from arl.losses.settings import KlEstimator
from arl.losses.spec import NO_IMPORTANCE, LossSpec


@dataclass(frozen=True)
class Mwer:
    """beta, kl, kl_ratio: the KL term, as in `Grpo`."""

    beta: float = 0.1
    kl: KlEstimator = "k3"
    kl_ratio: bool = False

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Of the KL, float64 [N]: as in `Grpo`, equal hypotheses included."""
        return sequence_mean(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.token_weights(lengths, totals)

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        hypotheses = micro.sums(micro.log_probs.double()).split([len(group) for group in micro.lengths])
        losses, expected, errors, distinct_share = [], [], [], 0.0
        for log_p, counts, duplicates in zip(hypotheses, micro.errors, micro.duplicate_of, strict=True):
            distinct = [index for index, first in enumerate(duplicates) if index == first]
            probs = log_p[distinct].softmax(0)  # P̂ [distinct hypotheses]
            word_errors = torch.tensor([counts[index] for index in distinct], dtype=probs.dtype, device=probs.device)
            losses.append((probs * (word_errors - word_errors.mean())).sum())
            expected.append((probs.detach() * word_errors).sum())
            errors.append(word_errors.mean())
            distinct_share += len(distinct) / len(duplicates)
        n = micro.totals.groups
        penalty, metrics = kl_penalty(micro, self.beta, self.kl, self.kl_ratio)
        sums = torch.stack([torch.stack(expected).sum(), torch.stack(errors).sum()]).tolist()
        metrics |= {"expected_errors": sums[0] / n, "mean_errors": sums[1] / n, "distinct": distinct_share / n}
        return penalty + (torch.stack(losses).sum() / n).to(micro.log_probs), metrics


LOSS = LossSpec(Mwer, has_errors=True, refuses={"importance": NO_IMPORTANCE})


def duplicate_of(responses: list[Tensor]) -> list[int]:
    """Per response the index of the first one with the same tokens."""
    seen: dict[tuple[int, ...], int] = {}
    return [seen.setdefault(tuple(response.tolist()), index) for index, response in enumerate(responses)]
