"""DiffRO by itself, in float64: its noise, its one-hots, its gradient, and whom it trains on."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from arl.losses.acoustic import AcousticBatch, AcousticHypothesis, Codebook, CodeLogits
from arl.losses.batch import Totals
from arl.losses.combined import Combined
from arl.losses.dapo import Dapo
from arl.losses.diffro import Diffro
from arl.losses.grpo import Grpo
from arl.losses.gumbel import conditioned, draw, soften, straight_through
from arl.losses.heads import WeightedHead
from arl.losses.micro_batch import MicroBatch
from arl.losses.registry import make_loss
from arl.losses.settings import AcousticSettings, LossSettings
from arl.losses.spec import AcousticInputs
from arl.models.token_asr.model import TokenAsr

C = 6
BOOK = Codebook(first=3, size=C, stops=(2,))
HYPS = [[4, 2, 3], [1, 6]]  # acoustic tokens of each hypothesis, by group
ADVANTAGES = [0.5, -1.0, 0.5, 0.0, 1.5]
TEXTS = ["ab", "ab", "ab", "b", "b"]


class Linear:
    """A reward that is linear in the one-hots, so that the gradient at the hard ones is that at the soft ones."""

    def __init__(self) -> None:
        self.table = torch.randn(40, C, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def rewards(self, onehots: Tensor, lengths: Tensor, texts: list[str]) -> Tensor:
        return (onehots * self.table[: onehots.shape[1]]).sum((1, 2)) / lengths


def make_asr() -> TokenAsr:
    torch.manual_seed(1)
    return TokenAsr(C, width=16, heads=2, layers=1).double().requires_grad_(False).eval()


def heads(head: Any) -> list[WeightedHead]:
    return [WeightedHead("head", head)]


def there(logits: Tensor) -> CodeLogits:
    """Logits [M, C] that are there already."""
    return CodeLogits(logits, logits, None, lambda hidden, weight, bias: hidden)


def make_micro_batch(loss: Any, logits: Tensor, codes: Tensor, with_reference: bool = True) -> MicroBatch:
    """One micro-batch of two groups whose responses are acoustic tokens and a stop token each; logits [M, C]."""
    flat = [n for group in HYPS for n in group]
    spoken = [
        AcousticHypothesis(n, t, a, 11 + i) for i, (n, t, a) in enumerate(zip(flat, TEXTS, ADVANTAGES, strict=True))
    ]
    reference = torch.randn(logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(8)).log_softmax(
        -1
    )
    log_probs = logits.log_softmax(-1)
    lengths = [[n + 1 for n in group] for group in HYPS]
    totals = Totals(2, sum(map(sum, lengths)), 5)
    sampled = log_probs.gather(1, codes[:, None])[:, 0]
    tokens = torch.cat([torch.cat([piece, piece.new_full((1,), -1.0)]) for piece in sampled.split(flat)])
    return MicroBatch(
        tokens, None, None,
        advantages=torch.tensor(ADVANTAGES, dtype=logits.dtype).repeat_interleave(torch.tensor(flat) + 1),
        weights=loss.token_weights(lengths, totals).to(logits),
        metric_weights=loss.metric_weights(lengths, totals).to(logits),
        lengths=lengths, totals=totals,
        acoustic=AcousticBatch(
            there(logits), there(reference) if with_reference else None, codes,
            torch.full((totals.tokens,), 0.25).double(),
            spoken, loss.hypothesis_weights(spoken),
        ),
    )  # fmt: skip


def inputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n = sum(map(sum, HYPS))
    logits = torch.randn(n, C, dtype=torch.float64, generator=generator)
    return logits, torch.randint(0, C, (n,), generator=generator)


# ---- Gumbel noise and one-hots --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.1, 8))
def test_conditioned_noise_has_its_maximum_at_the_sampled_code(seed, scale):
    logits, codes = inputs(seed)
    log_probs = (scale * logits).log_softmax(-1)
    noise = conditioned(log_probs, codes, draw([len(codes)], [seed], log_probs))
    assert torch.equal((log_probs + noise).argmax(-1), codes) and torch.isfinite(noise).all()


def test_over_sampled_codes_conditioned_noise_is_gumbel_noise():
    """Kolmogorov-Smirnov on each code's noise, and no correlation between codes, with codes drawn from the policy."""
    from scipy import stats

    n = 100_000
    log_probs = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.03, 0.01], dtype=torch.float64).log().expand(n, C)
    codes = torch.multinomial(log_probs.exp(), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    noise = conditioned(log_probs, codes, draw([n], [6], log_probs))
    assert all(stats.kstest(noise[:, code].numpy(), "gumbel_r").pvalue > 0.01 for code in range(C))
    correlation = torch.corrcoef(noise.T) - torch.eye(C)
    assert float(correlation.abs().max()) < 4 / math.sqrt(n)
    other = conditioned(log_probs, torch.zeros_like(codes), draw([n], [5], log_probs))  # codes of another policy
    assert stats.kstest(other[:, 0].numpy(), "gumbel_r").pvalue < 1e-6  # so the test can fail


def test_a_hypothesis_noise_is_of_its_own_seed():
    like = torch.zeros(1, C, dtype=torch.float64)
    both = draw([3, 4], [7, 9], like)
    assert torch.equal(both[3:], draw([4], [9], like)) and torch.equal(both[:3], draw([3], [7], like))
    assert both.shape == (7, C + 1) and not torch.equal(both[:3], both[3:6])
    assert abs(float(draw([20_000], [1], like).mean()) - 0.5772) < 0.02


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_straight_through_has_the_value_of_the_hard_and_the_gradient_of_the_soft(tau):
    logits, codes = inputs()
    noise = draw([len(codes)], [2], logits)[:, 1:]
    slope = torch.randn(logits.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gradients = []
    for onehots in (straight_through, lambda log_probs, n, c, t: soften(log_probs, n, t)):
        x = logits.clone().requires_grad_()
        made = onehots(x.log_softmax(-1), noise, codes, tau)
        if onehots is straight_through:
            assert torch.equal(made.detach(), F.one_hot(codes, C).double())
        (made * slope).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0
    torch.testing.assert_close(soften(logits.log_softmax(-1), noise, tau), ((logits + noise) / tau).softmax(-1))


# ---- the gradient ---------------------------------------------------------------------------------------------------


def noise_of(loss: Diffro, micro: MicroBatch, logits: Tensor) -> tuple[Tensor, Tensor]:
    """(the noise [M, C] that a loss draws for these logits, the hard codes)."""
    speech = micro.acoustic
    drawn = draw(speech.counts, [hypothesis.seed for hypothesis in speech.hypotheses], logits)
    log_probs = logits.log_softmax(-1)
    if loss.gumbel == "sampled":
        return conditioned(log_probs, speech.codes, drawn), speech.codes
    return drawn[:, 1:], (log_probs + drawn[:, 1:]).argmax(-1)


def central_differences(objective: Any, x: Tensor, step: float = 1e-6) -> Tensor:
    found = torch.zeros_like(x)
    for place in range(x.numel()):
        moved = [x.clone(), x.clone()]
        for sign, side in zip((1, -1), moved, strict=True):
            side.view(-1)[place] += sign * step
        found.view(-1)[place] = (objective(moved[0]) - objective(moved[1])) / (2 * step)
    return found


@pytest.mark.parametrize("tau", [0.7, 1.0])
@pytest.mark.parametrize("gumbel", ["sampled", "fresh"])
@pytest.mark.parametrize("kind", ["linear", "asr"])
def test_the_gradient_is_that_of_the_objective_with_its_noise_fixed(kind, gumbel, tau):
    """By central differences. For a linear reward the soft objective itself; for the recogniser the objective that is
    linear at the hard one-hots, which is what straight-through means; and of KL exactly."""
    head = Linear() if kind == "linear" else make_asr()
    loss = Diffro(heads(head), BOOK, beta=0.3, tau=tau, gumbel=gumbel)
    logits, codes = inputs()
    micro = make_micro_batch(loss, logits, codes)
    noise, hard = noise_of(loss, micro, logits)
    counts = micro.acoustic.counts
    lengths = torch.tensor(counts)

    def rewards(rows: Tensor) -> Tensor:
        padded = torch.nn.utils.rnn.pad_sequence(list(rows.split(counts)), True)
        return head.rewards(padded, lengths, TEXTS)

    at_hard = F.one_hot(hard, C).double().requires_grad_()
    (slope,) = torch.autograd.grad(rewards(at_hard).mean(), at_hard)
    reference = micro.acoustic.reference.log_probs()

    def objective(x: Tensor) -> float:
        log_probs = x.log_softmax(-1)
        kl = (log_probs.exp() * (log_probs - reference)).sum(-1)
        means, start = [], 0
        for group in HYPS:
            inner = []
            for n in group:
                inner.append(kl[start : start + n].mean())
                start += n
            means.append(torch.stack(inner).mean())
        soft = soften(log_probs, noise, tau)
        value = rewards(soft).mean() if kind == "linear" else (slope * soft).sum()
        return float(0.3 * torch.stack(means).mean() - value)

    x = logits.clone().requires_grad_()
    value, metrics = loss(make_micro_batch(loss, x, codes))
    value.backward()
    torch.testing.assert_close(x.grad, central_differences(objective, logits), rtol=1e-6, atol=1e-9)
    assert metrics["diffro_reward"] == pytest.approx(float(rewards(at_hard.detach()).mean()), rel=1e-12)
    assert float(value.detach()) == pytest.approx(0.3 * metrics["kl_codes"] - metrics["diffro_reward"], rel=1e-12)
    assert metrics["diffro_share"] == 1 and metrics["stop"] == pytest.approx(0.25) and metrics["kl_codes"] > 0


def test_the_recognisers_reward_has_the_gradient_of_its_soft_one_hots():
    asr, (logits, _) = make_asr(), inputs()
    soft = logits[:6].softmax(-1).view(2, 3, C).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: asr.rewards(x, torch.tensor([3, 2]), ["ab", "b"]), soft)


def test_without_a_reference_there_is_no_kl():
    loss = Diffro(heads(Linear()), BOOK, beta=0.3)
    value, metrics = loss(make_micro_batch(loss, *inputs(), with_reference=False))
    assert float(value) == -metrics["diffro_reward"] and "kl_codes" not in metrics


def test_only_what_is_spoken_is_a_code():
    tokens = torch.tensor([2, 3, 8, 9, 0, 5])
    assert BOOK.is_code(tokens).tolist() == [False, True, True, False, False, True]


# ---- whom it trains on ----------------------------------------------------------------------------------------------


def rows_with_gradient(loss: Any) -> list[bool]:
    """By hypothesis, whether the DiffRO micro moves it."""
    logits, codes = inputs()
    x = logits.clone().requires_grad_()
    micro = make_micro_batch(loss, x, codes)
    inner = loss if isinstance(loss, Diffro) else loss.diffro
    inner.mean_reward(micro)[0].backward()
    return [bool(piece.abs().max() > 0) for piece in x.grad.split(micro.acoustic.counts)]


def test_combined_is_grpo_and_diffro_of_the_better_hypotheses():
    diffro, base = Diffro(heads(Linear()), BOOK), Grpo(beta=0.0)
    assert rows_with_gradient(diffro) == [True] * 5
    assert rows_with_gradient(Combined(base, diffro)) == [True, False, True, False, True]
    assert rows_with_gradient(Combined(base, diffro, is_filtered=False)) == [True] * 5
    logits, codes = inputs()
    values, slopes = [], []
    for loss in (Combined(base, diffro, weight=0.7), base, Combined(base, diffro, weight=0.0)):
        x = logits.clone().requires_grad_()
        speaking = loss if isinstance(loss, Combined) else Combined(base, diffro)
        value, metrics = loss(make_micro_batch(speaking, x, codes))
        value.backward()
        values.append((float(value.detach()), metrics))
        slopes.append(x.grad)
    combined, alone, without = values
    assert combined[0] == pytest.approx(alone[0] - 0.7 * combined[1]["diffro_reward"], rel=1e-12)
    assert torch.equal(slopes[1], slopes[2]) and without[0] == alone[0]
    better = torch.tensor([a > 0 for a in ADVANTAGES]).repeat_interleave(torch.tensor([n for g in HYPS for n in g]))
    assert torch.equal(slopes[0][~better], slopes[1][~better])
    assert combined[1]["diffro_share"] == 3 / 5
    assert {"clip_fraction", "ratio_max", "stop", "kl_codes"} <= set(combined[1])


def test_a_batch_without_better_hypotheses_is_grpo(monkeypatch):
    monkeypatch.setitem(globals(), "ADVANTAGES", [0.0] * 5)
    loss = Combined(Grpo(beta=0.0), Diffro(heads(Linear()), BOOK))
    logits, codes = inputs()
    x = logits.clone().requires_grad_()
    value, metrics = loss(make_micro_batch(loss, x, codes))
    value.backward()
    assert metrics["diffro_share"] == 0 and "diffro_reward" not in metrics and not x.grad.any()


def test_hypotheses_that_cannot_be_read_as_their_text_are_left_out():
    loss = Diffro(heads(make_asr()), BOOK)
    facts = [AcousticHypothesis(n, text, 1.0, 0) for n, text in ((0, "a"), (1, "ab"), (1, "abc"), (2, "aa"), (1, "aa"))]
    assert loss.hypothesis_weights(facts) == [0, 0.5, 0, 0.5, 0]
    assert Diffro(heads(Linear()), BOOK).hypothesis_weights(facts) == [0, 0.25, 0.25, 0.25, 0.25]
    assert loss.hypothesis_weights(facts[:1]) == [0]


def test_settings_make_the_losses():
    own = AcousticSettings((), "fresh", tau=0.9, base="dapo", diffro_weight=2.0, filter=False)
    settings = LossSettings(loss="combined", beta=0.2, acoustic=own)
    loss = make_loss(settings, AcousticInputs(heads(Linear()), BOOK))
    assert isinstance(loss, Combined) and type(loss.base) is Dapo and loss.base.beta == 0.2 and loss.codebook == BOOK
    assert (loss.weight, loss.is_filtered, loss.diffro.tau, loss.diffro.gumbel) == (2.0, False, 0.9, "fresh")
    alone = make_loss(replace(settings, loss="diffro"), AcousticInputs(heads(Linear()), BOOK))
    assert isinstance(alone, Diffro) and alone.beta == 0.2
