"""Per-token estimators of KL(policy ‖ reference) from log-probabilities of sampled tokens (Schulman 2020).

With d = log p_ref − log p:  k1 = −d (unbiased, high variance),  k2 = d²/2 (biased, low variance),
k3 = exp(d) − d − 1 (unbiased for sampled tokens, never negative; the paper's eq. 4).
"""

from torch import Tensor

ESTIMATORS = ("k1", "k2", "k3")


def kl_estimate(log_probs: Tensor, reference: Tensor, kind: str = "k3") -> Tensor:
    """[N] and [N] log-probabilities → [N] in nats, differentiable in `log_probs`."""
    d = reference - log_probs
    if kind == "k1":
        return -d
    if kind == "k2":
        return d.square() / 2
    if kind == "k3":
        return d.exp() - d - 1
    raise ValueError(f"unknown KL estimator {kind!r}; one of {', '.join(ESTIMATORS)}")
