"""Per-token estimators of KL(policy ‖ reference) from log-probabilities of sampled tokens (Schulman 2020).

With d = log p_ref − log p:  k1 = −d (unbiased, high variance),  k2 = d²/2 (biased, low variance),
k3 = exp(d) − d − 1 (unbiased for sampled tokens, never negative; arXiv 2402.03300, eq. 4).

In a loss their values estimate the KL, but their gradients differ: k1's has mean zero, k2's is that of
KL(policy ‖ reference), k3's that of KL(reference ‖ policy). Multiplied by the ratio p / p_old (`with_ratio`), k1 and
k3 have the gradient of KL(policy ‖ reference), also after several updates on one rollout.
"""

from typing import get_args

from torch import Tensor

from arl.losses.micro_batch import MicroBatch
from arl.losses.settings import KlEstimator

ESTIMATORS = get_args(KlEstimator)


def kl_estimate(log_probs: Tensor, reference: Tensor, kind: KlEstimator = "k3") -> Tensor:
    """[N] and [N] log-probabilities → [N] in nats, differentiable in `log_probs`."""
    d = reference - log_probs
    if kind == "k1":
        return -d
    if kind == "k2":
        return d.square() / 2
    if kind == "k3":
        return d.exp() - d - 1
    raise ValueError(f"unknown KL estimator {kind!r}; one of {', '.join(ESTIMATORS)}")


def kl_penalty(
    micro: MicroBatch, beta: float, kind: KlEstimator, with_ratio: bool
) -> tuple[Tensor | float, dict[str, float]]:
    """β times the weighted KL to the reference as a term of the loss, and its metric; (0, {}) without either."""
    if not beta or micro.reference is None:
        return 0.0, {}
    kl = kl_estimate(micro.log_probs, micro.reference, kind)
    term = micro.log_ratio.exp() * kl if with_ratio else kl
    return beta * (micro.weights * term).sum(), micro.means(kl=kl)
