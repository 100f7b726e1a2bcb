"""The KL estimators: values by hand, gradients by finite differences, expectations over a distribution."""

import math

import pytest
import torch

from arl.losses.kl import ESTIMATORS, kl_estimate

LOG_PROBS = torch.tensor([-0.5, -1.0, -3.0], dtype=torch.float64)
REFERENCE = torch.tensor([-0.5, -1.7, -1.2], dtype=torch.float64)


def by_hand(kind: str, p: float, q: float) -> float:
    d = q - p
    return {"k1": -d, "k2": d * d / 2, "k3": math.exp(d) - d - 1}[kind]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_values(kind):
    expected = [by_hand(kind, p, q) for p, q in zip(LOG_PROBS.tolist(), REFERENCE.tolist(), strict=True)]
    assert kl_estimate(LOG_PROBS, REFERENCE, kind).tolist() == pytest.approx(expected, rel=1e-14)
    assert kl_estimate(LOG_PROBS, LOG_PROBS, kind).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_gradients_by_finite_differences(kind):
    leaf = LOG_PROBS.clone().requires_grad_()
    kl_estimate(leaf, REFERENCE, kind).sum().backward()
    step = 1e-6
    for place, gradient in enumerate(leaf.grad.tolist()):
        p, q = LOG_PROBS[place].item(), REFERENCE[place].item()
        slope = (by_hand(kind, p + step, q) - by_hand(kind, p - step, q)) / (2 * step)
        assert gradient == pytest.approx(slope, abs=1e-8)


def test_k3_is_never_negative_and_k1_and_k3_are_unbiased():
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, 50, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    for kind in ("k1", "k3"):
        expectation = (policy.exp() * kl_estimate(policy, reference, kind)).sum()
        torch.testing.assert_close(expectation, exact, rtol=1e-12, atol=0)
    assert (kl_estimate(policy, reference, "k3") >= 0).all()


def test_k3_is_the_default():
    assert torch.equal(kl_estimate(LOG_PROBS, REFERENCE), kl_estimate(LOG_PROBS, REFERENCE, "k3"))


def test_unknown_estimator():
    with pytest.raises(ValueError, match="k1, k2, k3"):
        kl_estimate(LOG_PROBS, REFERENCE, "k4")
