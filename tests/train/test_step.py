"""One step over a batch: independent of the micro-batches, equal to the paper's equations written out literally."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from arl.errors import ArlError
from arl.losses.grpo import Grpo
from arl.rewards.advantages import advantages
from arl.shards import columns
from arl.shards.reader import Sample
from arl.train.data import rl_batch
from arl.train.groups import PromptGroup, micro_batches
from arl.train.shared_prefix import per_row_log_probs
from arl.train.step import Compute, apply_gradient, policy_backward, reference_backward, sft_backward
from tests.train.exact import AUDIO, float64_layers, gradients, largest_difference, make_decoder, make_group

BUDGETS = [1, 60, 10_000]  # one group at a time, some, all that PADDING lets together


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64_layers():
        yield


def make_groups() -> list[PromptGroup]:
    return [make_group(seed, n_hyps=n) for seed, n in enumerate((5, 1, 12, 3, 3, 4))]


def old_log_probs(model: Any, groups: list[PromptGroup]) -> dict[str, Tensor]:
    """By key, log-probabilities near the model's own, as those before some updates are."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        now = {group.key: per_row_log_probs(model, [group], AUDIO) for group in groups}
    return {key: x + 0.3 * torch.randn(len(x), generator=generator, dtype=torch.float64) for key, x in now.items()}


def test_the_budgets_really_cut_the_batch_differently():
    assert [len(list(micro_batches(make_groups(), budget))) for budget in BUDGETS] == [6, 4, 2]
    alike = [make_group(seed, n_hyps=3, longest=2, prompt_length=30) for seed in range(6)]
    assert len(list(micro_batches(alike, 10_000))) == 1


def test_packed_rows_are_cut_by_positions_alone():
    lengths = [group.row_length for group in sorted(make_groups(), key=lambda group: group.row_length)]
    for budget in (1, 60, sum(lengths) - 1, sum(lengths)):
        cut = [[group.row_length for group in micro] for micro in micro_batches(make_groups(), budget, packed=True)]
        assert [length for micro in cut for length in micro] == lengths
        assert all(sum(micro) <= budget or len(micro) == 1 for micro in cut)
        assert all(sum(micro) + after[0] > budget for micro, after in zip(cut, cut[1:], strict=False))
    assert len(cut) == 1


def test_text_is_looked_up_once_a_pass():
    model, calls = make_decoder(), []
    model.get_input_embeddings().register_forward_hook(lambda *args: calls.append(1))
    Compute(AUDIO).scores(model, make_groups())
    assert len(calls) == 1


@pytest.mark.parametrize("flags", [{"checkpointing": True}, {"offload": True}, {"token_budget": 0}])
def test_how_it_is_computed_changes_nothing(flags):
    model, reference = make_decoder(seed=0), make_decoder(seed=1)
    plain = policy_backward(model, make_groups(), Grpo(), reference, Compute(AUDIO, token_budget=60))
    expected = gradients(model)
    found = policy_backward(model, make_groups(), Grpo(), reference, Compute(AUDIO, **{"token_budget": 60, **flags}))
    assert found == pytest.approx(plain, rel=1e-12)
    assert largest_difference(gradients(model), expected) < 1e-12


@pytest.mark.parametrize("with_old", [False, True])
@pytest.mark.parametrize("with_stale", [False, True])
def test_grpo_does_not_depend_on_the_token_budget(with_old, with_stale):
    model, reference = make_decoder(seed=0), make_decoder(seed=1)
    groups = make_groups()
    old = old_log_probs(model, groups) if with_old else None
    if with_stale:
        groups[2].sampled = [torch.full((len(r),), -3.0, dtype=torch.float64) for r in groups[2].responses]
    found = []
    for budget in BUDGETS:
        metrics = policy_backward(model, groups, Grpo(), reference, Compute(AUDIO, token_budget=budget, chunk=5), old)
        found.append((metrics, gradients(model)))
    first_metrics, first = found[0]
    assert {"loss", "kl", "entropy", "clip_fraction"} <= set(first_metrics)
    assert ("importance" in first_metrics) == with_stale
    for metrics, gradient in found[1:]:
        assert metrics == pytest.approx(first_metrics, rel=1e-12)
        assert largest_difference(gradient, first) < 1e-12


def test_sft_does_not_depend_on_the_token_budget():
    model = make_decoder()
    groups = [make_group(seed, n_hyps=1, longest=12) for seed in range(6)]

    def prepare(micro: list[PromptGroup]) -> tuple[list[PromptGroup], Tensor]:
        """As the projector's training does: a loss that is a mean over the groups at hand."""
        extra = torch.stack([model.get_input_embeddings()(g.responses[0]).square().mean() for g in micro]).mean()
        return micro, extra

    found = []
    for budget in BUDGETS:
        metrics = sft_backward(model, groups, Compute(AUDIO, token_budget=budget), prepare)
        found.append((metrics, gradients(model)))
    for metrics, gradient in found[1:]:
        assert metrics == pytest.approx(found[0][0], rel=1e-12)
        assert largest_difference(gradient, found[0][1]) < 1e-12


def test_sft_is_the_cross_entropy_of_all_tokens():
    model, groups = make_decoder(), [make_group(seed, n_hyps=1) for seed in range(3)]
    metrics = sft_backward(model, groups, Compute(AUDIO), lambda micro: (micro, None))
    assert metrics["loss"] == pytest.approx(-float(per_row_log_probs(model, groups, AUDIO).detach().mean()), rel=1e-12)
    assert "auxiliary" not in metrics


def test_the_cross_entropy_beside_a_loss_is_that_of_sft_at_temperature_1():
    model, told = make_decoder(), [make_group(seed, n_hyps=1) for seed in range(3)]
    sft = sft_backward(model, told, Compute(AUDIO), lambda here: (here, None))
    expected = gradients(model)
    groups = [replace(make_group(seed, n_hyps=4), reference=told[seed].responses[0]) for seed in range(3)]
    without = make_group(9, n_hyps=2)
    for budget in BUDGETS[:2]:
        metrics = reference_backward(model, [*groups, without], Compute(AUDIO, budget, temperature=0.7), 0.25)
        assert metrics == {"cross_entropy": pytest.approx(sft["loss"], rel=1e-12)}
        quarter = {name: gradient / 0.25 for name, gradient in gradients(model).items()}
        assert largest_difference(quarter, expected) < 1e-12


# ---- equations 2 to 4 of arXiv 2509.18569, term by term, and k3 of arXiv 2402.03300 ----------------------------


def make_samples() -> list[Sample]:
    """Joined rows with excluded hypotheses, a group without reward variance, and one that is excluded as a whole."""
    rng = random.Random(4)
    rewards: list[list[float | None]] = [
        [0.5, None, 1.0, 0.0], [1.0, 1.0, 1.0], [None, None], [0.2, 0.9, None, 0.4, 0.4], [None, 0.7],
    ]  # fmt: skip
    samples = []
    for seed, values in enumerate(rewards):
        group = make_group(seed, len(values))
        hyps = [
            {"text": "", "tokens": r.tolist(), "logprobs": [-4.0] * len(r), "finish": rng.choice(["stop", "length"])}
            for r in group.responses
        ]
        reward = {"components": {"wer": values}, "rewards": values, "advantages": advantages(values)}
        members = {
            columns.PROMPT: json.dumps({"input_ids": group.prompt.tolist()}).encode(),
            columns.EMB: save({"emb": group.clips[0]}),
            columns.ROLLOUT: json.dumps({"policy": "v1", "temperature": 0.8, "hyps": hyps}).encode(),
            columns.REWARD: json.dumps(reward).encode(),
        }
        samples.append(Sample(group.key, members, {}))
    return samples


def literal_loss(
    model: Any, reference: Any, samples: list[Sample], old: dict[str, Tensor] | None, eps: float, beta: float
) -> Tensor:
    """−J of eq. 2, one hypothesis and one token at a time; k3 as the KL, eq. 1 over what is not excluded."""
    per_group = []
    for sample in samples:
        hyps, values = sample.json(columns.ROLLOUT)["hyps"], sample.json(columns.REWARD)["rewards"]
        kept = [i for i, value in enumerate(values) if value is not None]
        if not kept:
            continue
        left = [values[i] for i in kept]
        mean = sum(left) / len(left)
        spread = math.sqrt(sum((value - mean) ** 2 for value in left) / (len(left) - 1)) if len(set(left)) > 1 else None
        per_hypothesis, seen = [], 0
        for i in kept:
            advantage = (values[i] - mean) / (spread + 1e-6) if spread is not None else 0.0
            one = rl_batch([sample], "v1", False).groups[0]
            one.responses = [torch.tensor(hyps[i]["tokens"])]
            now = per_row_log_probs(model, [one], AUDIO, 0.8)
            with torch.no_grad():
                anchor = per_row_log_probs(reference, [one], AUDIO, 0.8)
            n = len(hyps[i]["tokens"])
            before = now.detach() if old is None else old[sample.key][seen : seen + n]
            seen += n
            terms = []
            for t in range(n):
                ratio = torch.exp(now[t] - before[t])
                bounded = torch.clamp(ratio, 1 - eps, 1 + eps)
                policy = torch.minimum(ratio * advantage, bounded * advantage)
                kl = torch.exp(anchor[t] - now[t]) - (anchor[t] - now[t]) - 1
                terms.append(policy - beta * kl)
            per_hypothesis.append(sum(terms) / n)
        per_group.append(sum(per_hypothesis) / len(kept))
    return -sum(per_group) / len(per_group)


@pytest.mark.parametrize("with_old", [False, True])
def test_equals_the_papers_equations_written_out(with_old):
    model, reference, samples = make_decoder(seed=0), make_decoder(seed=1), make_samples()
    batch = rl_batch(samples, "v1", allow_stale=False)
    assert batch.temperature == 0.8
    assert {k: batch.metrics[k] for k in ("groups", "zero_spread", "excluded")} == {
        "groups": 4, "zero_spread": 2, "excluded": 5,
    }  # fmt: skip
    old = old_log_probs(model, batch.groups) if with_old else None
    compute = Compute(AUDIO, token_budget=60, temperature=batch.temperature)
    metrics = policy_backward(model, batch.groups, Grpo(), reference, compute, old)
    found = gradients(model)
    expected = literal_loss(model, reference, samples, old, eps=0.2, beta=0.1)
    expected.backward()
    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-10)
    assert largest_difference(found, gradients(model)) < 1e-10
    assert (metrics["clip_fraction"] > 0) == with_old


def test_old_of_none_equals_old_of_the_present_policy():
    model, groups = make_decoder(), make_groups()
    compute = Compute(AUDIO, token_budget=60)
    now = {group.key: compute.frozen_scores(model, [group]) for group in groups}
    without = policy_backward(model, groups, Grpo(beta=0.0), None, compute, None)
    expected = gradients(model)
    given = policy_backward(model, groups, Grpo(beta=0.0), None, compute, now)
    assert given == pytest.approx(without, rel=1e-12, abs=1e-15)
    assert largest_difference(gradients(model), expected) < 1e-12


def test_zero_advantages_without_kl_teach_nothing():
    model, groups = make_decoder(), make_groups()
    for group in groups:
        group.advantages = [0.0] * len(group.responses)
    policy_backward(model, groups, Grpo(beta=0.0), None, Compute(AUDIO))
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients(model).values())


def test_stale_rollouts_are_weighted_by_truncated_importance():
    samples = make_samples()
    with pytest.raises(ArlError, match="utt-0: rolled out by policy v1, not by v2.*--allow-stale"):
        rl_batch(samples, "v2", allow_stale=False)
    fresh, stale = rl_batch(samples, "v1", allow_stale=True), rl_batch(samples, "v2", allow_stale=True)
    assert (fresh.metrics["stale"], stale.metrics["stale"]) == (0, 4)
    assert not any(group.sampled for group in fresh.groups)
    model, compute = make_decoder(), Compute(AUDIO, token_budget=60, temperature=0.8)
    metrics = policy_backward(model, stale.groups, Grpo(beta=0.0), None, compute)
    weights = {g.key: (compute.frozen_scores(model, [g]) + 4.0).exp().clamp(max=2.0) for g in stale.groups}
    expected = 0.0
    for group in stale.groups:  # on-policy the ratio is 1, so each token's objective is its weight times its advantage
        pieces = weights[group.key].split([len(r) for r in group.responses])
        terms = [float(piece.mean()) * a for piece, a in zip(pieces, group.advantages, strict=True)]
        expected -= sum(terms) / len(terms) / len(stale.groups)
    assert metrics["loss"] == pytest.approx(expected, rel=1e-10)
    assert 0 < metrics["importance"] < 2
    assert any(float(w.max()) == 2 for w in weights.values())


def test_batches_that_mix_temperatures_or_have_no_reward_are_refused():
    samples = make_samples()
    changed = samples[0].json(columns.ROLLOUT) | {"temperature": 1.0}
    mixed = Sample(samples[0].key, samples[0].members | {columns.ROLLOUT: json.dumps(changed).encode()}, {})
    with pytest.raises(ArlError, match=r"mix temperatures \[0.8, 1.0\]"):
        rl_batch([mixed, *samples[1:]], "v1", False)
    with pytest.raises(ArlError, match="no group has a reward"):
        rl_batch([samples[2]], "v1", False)


def test_rows_without_hypotheses_are_left_out():
    """What an utterance that could not be encoded becomes: no embeddings, no hypotheses, no rewards."""
    members = {
        columns.PROMPT: b'{"input_ids":[],"error":"audio: no audio in it"}',
        columns.ROLLOUT: b'{"policy":"v1","temperature":0.8,"hyps":[]}',
        columns.REWARD: b'{"components":{"wer":[]},"rewards":[],"advantages":[]}',
    }
    batch = rl_batch([Sample("bad", members, {}), *make_samples()], "v1", False)
    assert [group.key for group in batch.groups] == ["utt-0", "utt-1", "utt-3", "utt-4"]


# ---- the optimizer's step -------------------------------------------------------------------------------------


def one_parameter(gradient: list[float]) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    parameter = torch.nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return parameter, torch.optim.SGD([parameter], lr=0.0)


@pytest.mark.parametrize(("max_norm", "scale"), [(0.0, 1.0), (10.0, 1.0), (1.0, 0.2)])
def test_clipping_of_the_gradient(max_norm, scale):
    parameter, optimizer = one_parameter([3.0, 4.0])
    assert apply_gradient(optimizer, 0.5, max_norm) == pytest.approx(5.0)
    assert parameter.tolist() == pytest.approx([-0.5 * scale * 3, -0.5 * scale * 4], rel=1e-6)
    assert parameter.grad is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_an_error_and_changes_nothing(value):
    parameter, optimizer = one_parameter([1.0, value])
    with pytest.raises(ArlError, match="the gradient's norm is (nan|inf): lower --lr"):
        apply_gradient(optimizer, 0.5, 1.0)
    assert parameter.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("packed", [True, False])
def test_two_threads_give_the_same_bits_every_time(packed: bool) -> None:
    """Float32 sums depend on their order, so nothing may add up in whatever order the threads come."""
    model = make_decoder(attention=packed).float()
    groups = [make_group(0, n_hyps=4000, longest=1)]  # the prompt's last position predicts them all
    groups[0].clips = [clip.float() for clip in groups[0].clips]
    groups[0].advantages = [math.sin(i) for i in range(4000)]
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for _ in range(4):
            policy_backward(model, groups, Grpo(beta=0.0), None, Compute(AUDIO, token_budget=8192))
            seen.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
            model.zero_grad(set_to_none=True)
    finally:
        torch.set_num_threads(before)
    for again in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], again, strict=True))
