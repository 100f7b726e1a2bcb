"""The losses of an update as they are trained: from joined rows through a decoder, in float64.

Each equals its formula written out (tests/losses/literal.py) over log-probabilities that are computed row by row, and
depends on no micro-batch.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import save

from arl.errors import ArlError
from arl.losses.importance import Correction
from arl.losses.registry import make_loss
from arl.rewards.advantages import advantages
from arl.shards import columns
from arl.shards.reader import Sample
from arl.train.data import Batch, rl_batch
from arl.train.shared_prefix import per_row_log_probs
from arl.train.step import Compute, policy_backward
from tests.losses import literal
from tests.losses.literal import Group, Hyp, Terms
from tests.losses.test_literal import ON_ROLLOUTS, settings_of
from tests.train.exact import AUDIO, float64_layers, gradients, largest_difference, make_decoder, make_group

REWARDS: list[list[float | None]] = [[0.5, None, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [None, None], [0.2, 0.9, 0.4]]
TEMPERATURE = 0.8


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64_layers():
        yield


def make_samples(kind: str = "std") -> list[Sample]:
    """Joined rows with excluded hypotheses, two equal ones, a group without reward variance, and one without reward."""
    rng = random.Random(6)
    samples = []
    for seed, values in enumerate(REWARDS):
        group = make_group(seed, len(values), longest=4)
        responses = [response.tolist() for response in group.responses]
        if seed == 0:
            responses[3] = responses[0]
        hyps = [
            {"text": "", "tokens": r, "logprobs": [rng.uniform(-4, -3) for _ in r], "finish": "stop"} for r in responses
        ]
        counts = [1.0 if seed == 1 else float(sum(r) % 4) for r in responses]
        zeros = [0.0] * len(counts)
        metrics = {"wer.substitutions": counts, "wer.deletions": zeros, "wer.insertions": zeros}
        reward = {"components": {"wer": values}, "rewards": values, "advantages": advantages(values, kind)}
        members = {
            columns.PROMPT: json.dumps({"input_ids": group.prompt.tolist()}).encode(),
            columns.EMB: save({"emb": group.clips[0]}),
            columns.ROLLOUT: json.dumps({"policy": "v1", "temperature": TEMPERATURE, "hyps": hyps}).encode(),
            columns.REWARD: json.dumps(reward | {"metrics": metrics}).encode(),
        }
        samples.append(Sample(group.key, members, {}))
    return samples


def read(terms: Terms, **flags: Any) -> Batch:
    samples = make_samples("mean" if terms.name == "dr_grpo" else "std")
    risk = "errors" if terms.name == "mwer" else ""
    return rl_batch(samples, "v1", False, correct=terms.importance != "none", risk=risk, **flags)


def as_literal(batch: Batch, model: Any, reference: Any) -> tuple[list[Group], torch.Tensor]:
    """The same groups for the formulas, and their differentiable log-probabilities, row by row."""
    rows = per_row_log_probs(model, batch.groups, AUDIO, TEMPERATURE)
    with torch.no_grad():
        references = per_row_log_probs(reference, batch.groups, AUDIO, TEMPERATURE)
    sizes = [n for group in batch.groups for n in group.lengths]
    lists = iter(zip(*([piece.tolist() for piece in t.detach().split(sizes)] for t in (rows, references)), strict=True))
    found = []
    for group in batch.groups:
        sample = json.loads(next(s for s in make_samples() if s.key == group.key).members[columns.ROLLOUT])
        values = REWARDS[int(group.key.removeprefix("utt-"))]
        kept = [(hyp, reward) for hyp, reward in zip(sample["hyps"], values, strict=True) if reward is not None]
        hyps = []
        for hyp, reward in kept:
            now, near = next(lists)
            errors = 1 if group.key == "utt-1" else sum(hyp["tokens"]) % 4
            hyps.append(Hyp(hyp["tokens"], reward, errors, now, list(now), near, hyp["logprobs"]))
        found.append(Group(hyps))
    return found, rows


@pytest.mark.parametrize("with_old", [False, True])
@pytest.mark.parametrize("importance", ["none", "truncate", "mask"])
@pytest.mark.parametrize("name", ON_ROLLOUTS)
def test_a_step_is_the_formula_for_any_micro_batch(name: str, importance: str, with_old: bool) -> None:
    terms = Terms(name, beta=0.2, kl_ratio=True, importance="none" if name == "mwer" else importance)
    model, reference = make_decoder(seed=0), make_decoder(seed=1)
    batch, loss = read(terms), make_loss(settings_of(terms))
    groups, rows = as_literal(batch, model, reference)
    old = None
    if with_old:
        rng = random.Random(2)
        for group in groups:
            for hyp in group.hyps:
                hyp.old = [value + rng.gauss(0, 0.3) for value in hyp.now]
        old = {
            key.key: torch.tensor(literal.kept([group], lambda hyp: hyp.old), dtype=torch.float64)
            for key, group in zip(batch.groups, groups, strict=True)
        }
    expected = literal.loss(groups, terms)
    rows.backward(torch.tensor(literal.slopes(groups, terms), dtype=torch.float64))
    slope = gradients(model)
    correction = Correction(terms.importance, *terms.bounds) if terms.importance != "none" else None
    found = []
    for budget in (1, 40, 10_000):
        compute = Compute(AUDIO, token_budget=budget, temperature=TEMPERATURE)
        metrics = policy_backward(model, batch.groups, loss, reference, compute, old, correction)
        found.append((metrics, gradients(model)))
    metrics, gradient = found[0]
    assert metrics["loss"] == pytest.approx(expected, rel=1e-9)
    assert largest_difference(gradient, slope) < 1e-5  # of central differences
    assert {"loss", "entropy", "kl"} <= set(metrics)
    assert ("importance" in metrics) == ("importance_cut" in metrics) == (terms.importance != "none")
    for other, again in found[1:]:
        assert other == pytest.approx(metrics, rel=1e-10, abs=1e-14)
        assert largest_difference(again, gradient) < 1e-10


def test_the_bounds_of_the_importance_weights_are_met():
    terms = Terms("dapo", importance="mask")
    batch, model = read(terms), make_decoder()
    compute = Compute(AUDIO, temperature=TEMPERATURE)
    q = torch.cat([compute.frozen_scores(model, [g]) - torch.cat(g.sampled).double() for g in batch.groups]).exp()
    is_kept = (q >= 0.5) & (q <= 2)
    loss = make_loss(settings_of(terms))
    metrics = policy_backward(model, batch.groups, loss, None, compute, None, Correction("mask"))
    assert 0 < is_kept.double().mean() < 1
    assert metrics["importance_cut"] == pytest.approx(1 - float(is_kept.double().mean()))
    assert metrics["importance"] == pytest.approx(float((q * is_kept).mean()))
    assert metrics["importance_max"] == pytest.approx(float((q * is_kept).max())) and metrics["importance_max"] <= 2


# ---- what is read from the shards -----------------------------------------------------------------------------------


def test_gather_keeps_the_first_groups_with_reward_variance():
    batch = read(Terms("grpo"), gather=8)
    assert [group.key for group in batch.groups] == ["utt-0", "utt-3"]
    assert {k: batch.metrics[k] for k in ("groups", "left_out", "zero_spread", "excluded")} == {
        "groups": 2, "left_out": 1, "zero_spread": 1, "excluded": 3,
    }  # fmt: skip
    assert batch.metrics["tokens"] == sum(group.n_tokens for group in batch.groups)
    assert [group.key for group in read(Terms("grpo"), gather=1).groups] == ["utt-0"]
    assert batch.metrics["reward"] == read(Terms("grpo")).metrics["reward"]  # of all that was sampled


def test_gather_keeps_all_where_no_group_has_reward_variance():
    flat = [sample for sample in make_samples() if sample.key == "utt-1"]
    batch = rl_batch(flat, "v1", False, gather=8)
    assert [group.key for group in batch.groups] == ["utt-1"] and batch.metrics["left_out"] == 0


def test_mwer_reads_the_word_errors_or_the_rewards():
    assert [group.errors for group in read(Terms("grpo")).groups] == [[], [], []]
    rewards = rl_batch(make_samples(), "v1", False, risk="reward")
    assert [group.errors for group in rewards.groups] == [[-0.5, -1.0, 0.0, 0.0], [-1.0] * 3, [-0.2, -0.9, -0.4]]
    errors = read(Terms("mwer")).groups[0]
    assert errors.errors == [float(int(response.sum()) % 4) for response in errors.responses]
    sample = make_samples()[0]
    without = json.loads(sample.members[columns.REWARD])
    del without["metrics"]
    bare = Sample(sample.key, sample.members | {columns.REWARD: json.dumps(without).encode()}, {})
    with pytest.raises(ArlError, match="utt-0: no word errors beside the rewards: score again with --with wer"):
        rl_batch([bare], "v1", False, risk="errors")
    stale = rl_batch(make_samples(), "v2", True, risk="errors")
    assert not any(group.sampled for group in stale.groups)  # P̂ is of the present policy
