"""Minimum word error rate training (arXiv 1712.01818): expected word errors of an utterance over its group.

    list (section 3.2):     L = Σ_i P̂_i · (W_i − W̄) / c,     P̂_i = P(y_i)^κ_i / Σ_j P(y_j)^κ_j
    samples (section 3.1):  L = mean_i κ_i · log P(y_i) · (W_i − W̄) / c

averaged over the batch's groups; W̄ is the mean of W, P(y) the product of the token probabilities. The paper has κ 1 and
c 1 (`mwer_scale` 1, `mwer_errors` count). Over long hypotheses P̂ is then one-hot, so that its gradient says which
hypothesis is likely rather than which has fewer errors; a scale on log-probabilities, as lattice MWER has it, keeps P̂
over the list. The default is κ_i = 1 / the hypothesis' tokens, and c the standard deviation of W over the list, so that
a token has a gradient of the size of GRPO's and the same `beta` means the same; with a constant κ, c is times κ and the
mean number of tokens.

In the list a hypothesis stands once: of equal token sequences, which sampling yields and a beam does not, the first one
stands for all, in the sums and in W̄. As samples they all count. P is of the present policy, whoever proposed the list,
so there is no ratio, no clipping and no importance weight; groups of equal errors have zero loss. The KL of grpo.py may
be added, and the paper's λ times cross-entropy of the transcript is `--ce` of `arl update`, for any loss on rollouts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arl.losses.batch import Lengths, Totals
from arl.losses.kl import kl_penalty
from arl.losses.micro_batch import MicroBatch, sequence_mean
from arl.losses.settings import ErrorUnit, KlEstimator, MwerForm
from arl.losses.spec import NO_IMPORTANCE, LossSpec

EPS = 1e-6  # added to the standard deviation, as in the advantages


@dataclass(frozen=True)
class Mwer:
    """beta, kl, kl_ratio: the KL term, as in `Grpo`. mwer_form: over the list of distinct hypotheses, or over samples.
    mwer_scale: κ; 0: 1 / the hypothesis' tokens. mwer_errors: W by its standard deviation, or as counted."""

    beta: float = 0.1
    kl: KlEstimator = "k3"
    kl_ratio: bool = False
    mwer_form: MwerForm = "list"
    mwer_scale: float = 0.0
    mwer_errors: ErrorUnit = "std"

    def token_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        """Of the KL, float64 [N]: as in `Grpo`, equal hypotheses included."""
        return sequence_mean(lengths, totals)

    def metric_weights(self, lengths: Lengths, totals: Totals) -> Tensor:
        return self.token_weights(lengths, totals)

    def __call__(self, micro: MicroBatch) -> tuple[Tensor, dict[str, float]]:
        sizes = [len(group) for group in micro.lengths]
        log_ps, lengths = micro.sums(micro.log_probs.double()).split(sizes), micro.sizes.double().split(sizes)
        losses, logged = [], []
        for log_p, length, counts, duplicates in zip(log_ps, lengths, micro.errors, micro.duplicate_of, strict=True):
            distinct = [index for index, first in enumerate(duplicates) if index == first]
            chosen = distinct if self.mwer_form == "list" else list(range(len(duplicates)))
            errors = torch.tensor([counts[index] for index in chosen], dtype=log_p.dtype, device=log_p.device)
            value, probs = self.expected(log_p[chosen], length[chosen], errors)
            losses.append(value)
            shares = errors.new_tensor([len(distinct) / len(duplicates)]).squeeze(0)
            logged.append(torch.stack([(probs * errors).sum(), errors.mean(), shares, 1 / probs.square().sum()]))
        n = micro.totals.groups
        penalty, metrics = kl_penalty(micro, self.beta, self.kl, self.kl_ratio)
        names = ("expected_errors", "mean_errors", "distinct", "list_size")
        metrics |= dict(zip(names, (torch.stack(logged).sum(0) / n).tolist(), strict=True))
        return penalty + (torch.stack(losses).sum() / n).to(micro.log_probs), metrics

    def expected(self, log_p: Tensor, length: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """(the loss of a group, the weight of each hypothesis in its expected errors, no gradient), of log P(y),
        tokens and errors W of its hypotheses, float64 [n] each."""
        scaled = log_p * (self.mwer_scale or 1 / length)
        centred = (errors - errors.mean()) / self.unit(length, errors)
        if self.mwer_form == "samples":
            return (scaled * centred).mean(), torch.full_like(errors, 1 / len(errors))
        probs = scaled.softmax(0)  # P̂ [n]
        return (probs * centred).sum(), probs.detach()

    def unit(self, length: Tensor, errors: Tensor) -> Tensor | float:
        """c: what the errors of a group are divided by."""
        if self.mwer_errors == "count" or len(errors) < 2:
            return 1.0
        return (errors.std() + EPS) * (self.mwer_scale * length.mean() if self.mwer_scale else 1.0)


LOSS = LossSpec(Mwer, has_errors=True, refuses={"importance": NO_IMPORTANCE})


def duplicate_of(responses: list[Tensor]) -> list[int]:
    """Per response the index of the first one with the same tokens."""
    seen: dict[tuple[int, ...], int] = {}
    return [seen.setdefault(tuple(response.tolist()), index) for index, response in enumerate(responses)]
