"""Minimum word error rate training (arXiv 1712.01818, the N-best approximation of section 3.2).

The expected word errors of an utterance over its group, taken as an n-best list, minus their mean:

    L = Σ_i P̂_i · (W_i − W̄),     P̂_i = P(y_i) / Σ_j P(y_j),     W̄ = mean of W,

averaged over the batch's groups. P(y) is the product of the token probabilities, not normalised by length. A list
holds a hypothesis once: of equal token sequences, which sampling yields and a beam does not, the first one stands for
all, in the sums and in W̄; otherwise likely hypotheses would weigh by the square of their probability. P̂ is of the
present policy, whoever proposed the list, so there is no ratio, no clipping and no importance weight; zero-spread
groups have zero loss. The KL of grpo.py may be added. Left out: the paper's λ·CE on the reference transcript, which
rollout and reward shards do not carry; the KL is the anchor instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.kl import kl_penalty
from arl.losses.part import Part, sequence_mean


@dataclass(frozen=True)
class Mwer:
    """beta, kl, kl_ratio: the KL term, as in `Grpo`."""

    beta: float = 0.1
    kl: str = "k3"
    kl_ratio: bool = False

    def token_weights(self, lengths: Lengths, batch: Totals) -> Tensor:
        """Of the KL, float64 [N]: as in `Grpo`, equal hypotheses included."""
        return sequence_mean(lengths, batch)

    def token_shares(self, lengths: Lengths, batch: Totals) -> Tensor:
        return self.token_weights(lengths, batch)

    def __call__(self, part: Part) -> tuple[Tensor, dict[str, float]]:
        hypotheses = part.sums(part.log_probs.double()).split([len(group) for group in part.lengths])
        losses, expected, errors, distinct = [], [], [], 0.0
        for log_p, counts, first in zip(hypotheses, part.errors, part.first, strict=True):
            places = [place for place, leader in enumerate(first) if place == leader]
            share = log_p[places].softmax(0)
            word_errors = torch.tensor([counts[place] for place in places], dtype=share.dtype, device=share.device)
            losses.append((share * (word_errors - word_errors.mean())).sum())
            expected.append((share.detach() * word_errors).sum())
            errors.append(word_errors.mean())
            distinct += len(places) / len(first)
        n = part.totals.groups
        penalty, metrics = kl_penalty(part, self.beta, self.kl, self.kl_ratio)
        sums = torch.stack([torch.stack(expected).sum(), torch.stack(errors).sum()]).tolist()
        metrics |= {"expected_errors": sums[0] / n, "mean_errors": sums[1] / n, "distinct": distinct / n}
        return penalty + (torch.stack(losses).sum() / n).to(part.log_probs), metrics


def first_equal(responses: list[Tensor]) -> list[int]:
    """Per response the place of the first one with the same tokens."""
    seen: dict[tuple[int, ...], int] = {}
    return [seen.setdefault(tuple(response.tolist()), place) for place, response in enumerate(responses)]
