"""Gumbel-softmax over a codebook: noise that explains a sampled token, and one-hots with the gradient of soft ones.

log p + Gumbel noise has its maximum at a token with that token's probability. The other way round (top-down, Maddison
et al. 2014): given that the maximum is at the sampled token, it is a Gumbel variable itself, as the log-probabilities
sum to one, and the others are Gumbel variables that stay below it. Over the tokens that p samples, such noise is
Gumbel noise. So a rollout can be read again as Gumbel-max samples, in one teacher-forced pass.

    noise = conditioned(log_probs, codes, draw(counts, seeds, log_probs))
    onehots = straight_through(log_probs, noise, codes, tau=1.0)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def draw(counts: Sequence[int], seeds: Sequence[int], log_probs: Tensor) -> Tensor:
    """Standard Gumbel variables [sum of counts, C + 1] in the dtype of log_probs [·, C] and on its device.

    Each seed's rows are drawn by a generator of their own, so that no other row has a part in them.
    """
    pieces = []
    for count, seed in zip(counts, seeds, strict=True):
        generator = torch.Generator(log_probs.device).manual_seed(seed)
        pieces.append(log_probs.new_empty(count, log_probs.shape[1] + 1).exponential_(generator=generator))
    # −log of an exponential variable is a Gumbel variable
    return -torch.cat(pieces).clamp_min(torch.finfo(log_probs.dtype).tiny).log()


@torch.no_grad()
def conditioned(log_probs: Tensor, codes: Tensor, drawn: Tensor) -> Tensor:
    """Noise [M, C] with which log_probs [M, C] (normalised) have their maximum at codes int64 [M]. drawn [M, C + 1]."""
    # a normalised distribution's perturbed log-probabilities have a standard Gumbel variable as their maximum
    top = drawn[:, :1]  # [M, 1]: that maximum, log p + noise of the sampled code
    others = log_probs + drawn[:, 1:]  # [M, C]: log p + noise of each code as if nothing were known
    # given that it stays below `top`, a Gumbel variable g is −log(e^−top + e^−g): its distribution cut off at top
    below = -torch.logaddexp(-top, -others)  # [M, C]
    return below.scatter(1, codes[:, None], top) - log_probs  # log p + noise, minus log p


def soften(log_probs: Tensor, noise: Tensor, tau: float) -> Tensor:
    """y = softmax((log p + noise) / τ) [M, C]; the noise is a constant."""
    return ((log_probs + noise) / tau).softmax(-1)


def straight_through(log_probs: Tensor, noise: Tensor, codes: Tensor, tau: float) -> Tensor:
    """One-hots of codes [M, C], exactly, with the gradient of y."""
    soft = soften(log_probs, noise, tau)  # y [M, C]
    return F.one_hot(codes, soft.shape[1]).to(soft) + (soft - soft.detach())
