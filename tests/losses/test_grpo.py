"""The GRPO loss on single tokens: clipping by hand, the KL term, gradients by finite differences."""

import math

import pytest
import torch

from arl.losses.grpo import Grpo
from arl.losses.kl import ESTIMATORS
from arl.losses.micro_batch import MicroBatch

ONE = torch.ones(1, dtype=torch.float64)


def token(ratio: float, advantage: float, loss: Grpo) -> tuple[float, float, dict[str, float]]:
    """(loss, d loss / d log p, metrics) of one token whose ratio to the old policy is `ratio`, without KL."""
    old = torch.tensor([-1.0], dtype=torch.float64)
    log_prob = (old + math.log(ratio)).requires_grad_()
    value, metrics = loss(MicroBatch(log_prob, old, None, advantage * ONE, ONE))
    value.backward()
    return float(value.detach()), float(log_prob.grad), metrics


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope", "is_clipped"),
    [
        (1.0, 2.0, 2.0, 2.0, 0),
        (1.1, 2.0, 2.2, 2.2, 0),  # inside: d(r·A)/d log p = r·A
        (1.5, 2.0, 2.4, 0.0, 1),  # better than average and already likelier: no further
        (0.5, 2.0, 1.0, 1.0, 0),  # better than average, less likely: pulled back in full
        (0.5, -2.0, -1.6, 0.0, 1),  # worse and already less likely: no further
        (1.5, -2.0, -3.0, -3.0, 0),  # worse and likelier: pushed down in full
        (0.9, -2.0, -1.8, -1.8, 0),
        (3.0, 0.0, 0.0, 0.0, 0),
    ],
)
def test_clipping(ratio, advantage, objective, slope, is_clipped):
    value, gradient, metrics = token(ratio, advantage, Grpo(beta=0.0))
    assert value == pytest.approx(-objective, abs=1e-12)
    assert gradient == pytest.approx(-slope, abs=1e-12)
    assert metrics["clip_fraction"] == metrics["clip_low"] + metrics["clip_high"] == is_clipped
    assert metrics["clip_high" if advantage > 0 else "clip_low"] == is_clipped
    assert metrics["ratio_max"] == pytest.approx(ratio)
    assert metrics["old_kl"] == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope", "is_dual"),
    [
        (5.0, -2.0, -6.0, 0.0, 1),  # worse and five times likelier: pushed down no harder than at ratio 3
        (2.9, -2.0, -5.8, -5.8, 0),
        (0.5, -2.0, -1.6, 0.0, 0),
        (5.0, 2.0, 2.4, 0.0, 0),  # of advantages above 0 the other clip takes care
    ],
)
def test_dual_clipping(ratio, advantage, objective, slope, is_dual):
    value, gradient, metrics = token(ratio, advantage, Grpo(beta=0.0, clip_dual=3.0))
    assert (value, gradient) == pytest.approx((-objective, -slope), abs=1e-12)
    assert metrics["clip_dual"] == is_dual


def test_both_sides_have_their_own_epsilon():
    loss = Grpo(clip_low=0.1, clip_high=0.3, beta=0.0)
    assert token(1.25, 1.0, loss)[:2] == pytest.approx((-1.25, -1.25))
    assert token(1.4, 1.0, loss)[:2] == pytest.approx((-1.3, 0.0))
    assert token(0.85, -1.0, loss)[:2] == pytest.approx((0.9, 0.0))


def random_tokens(n: int = 9) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    log_probs, old, reference = -1 + 0.3 * torch.randn(3, n, generator=generator, dtype=torch.float64)
    advantages = torch.randn(n, generator=generator, dtype=torch.float64)
    weights = torch.rand(n, generator=generator, dtype=torch.float64)
    return log_probs, old, reference, advantages, weights / weights.sum()


@pytest.mark.parametrize("kl", ESTIMATORS)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_gradient_by_finite_differences(kl, beta):
    log_probs, old, reference, advantages, weights = random_tokens()
    loss = Grpo(beta=beta, kl=kl)
    leaf = log_probs.clone().requires_grad_()
    loss(MicroBatch(leaf, old, reference, advantages, weights))[0].backward()
    step = 1e-6
    for place in range(len(log_probs)):
        shift = step * torch.eye(len(log_probs), dtype=torch.float64)[place]
        above, below = (
            float(loss(MicroBatch(log_probs + s, old, reference, advantages, weights))[0]) for s in (shift, -shift)
        )
        assert float(leaf.grad[place]) == pytest.approx((above - below) / (2 * step), abs=1e-8)


def test_on_policy_the_loss_is_minus_the_advantage_and_the_gradient_that_of_reinforce():
    log_probs, _, _, advantages, weights = random_tokens()
    leaf = log_probs.clone().requires_grad_()
    value, metrics = Grpo(beta=0.0)(MicroBatch(leaf, None, None, advantages, weights))
    value.backward()
    assert float(value.detach()) == pytest.approx(-float((weights * advantages).sum()))
    torch.testing.assert_close(leaf.grad, -weights * advantages, rtol=1e-14, atol=0)
    assert metrics == {"clip_fraction": 0.0, "clip_low": 0.0, "clip_high": 0.0, "ratio_max": 1.0, "old_kl": 0.0}


def test_beta_0_has_no_kl_term_and_beta_weighs_it():
    log_probs, old, reference, advantages, weights = random_tokens()
    without, metrics = Grpo(beta=0.0)(MicroBatch(log_probs, old, reference, advantages, weights))
    assert "kl" not in metrics
    assert float(without) == float(Grpo(beta=0.0)(MicroBatch(log_probs, old, None, advantages, weights))[0])
    with_kl, metrics = Grpo(beta=0.25)(MicroBatch(log_probs, old, reference, advantages, weights))
    d = reference - log_probs
    kl = float((weights * (d.exp() - d - 1)).sum())
    assert metrics["kl"] == pytest.approx(kl)
    assert float(with_kl) == pytest.approx(float(without) + 0.25 * kl)


def test_importance_weighs_the_policy_term_only():
    log_probs, old, reference, advantages, weights = random_tokens()
    importance = torch.linspace(0, 2, len(log_probs), dtype=torch.float64)
    value, metrics = Grpo(beta=0.1)(MicroBatch(log_probs, old, reference, advantages, weights, importance))
    policy = Grpo(beta=0.0)(MicroBatch(log_probs, old, None, advantages, weights * importance))[0]
    kl = Grpo(beta=0.1)(MicroBatch(log_probs, old, reference, 0 * advantages, weights))[0]
    assert float(value) == pytest.approx(float(policy + kl))
    assert metrics["importance"] == pytest.approx(float((weights * importance).sum()))
