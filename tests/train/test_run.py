"""The schedule belongs to the run: what a policy did before its run does not use it up."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arl.cli.update import update
from arl.errors import UsageError
from arl.policy import MARKER, Policy
from arl.shards.record import read_record
from arl.train.schedule import Schedule
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards, make_sft_shards

COSINE: dict[str, Any] = {"schedule": "cosine", "lr": 1e-3, "warmup": 2}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_policy(tmp_path_factory.mktemp("start") / "policy"))


@pytest.fixture(scope="module")
def sft(start: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sft_shards(tmp_path_factory.mktemp("sft"), start, shards=4)


@pytest.fixture(scope="module")
def supervised(start: Policy, sft: list[str], tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """After four supervised steps of a cosine over four."""
    return supervise(sft, start, tmp_path_factory.mktemp("supervised") / "policy", total_steps=4)


def supervise(shards: list[str], policy: Policy, out: Path, **flags: Any) -> Policy:
    update(shards=shards, policy=policy.path, out=out, loss="sft", threads=1, device="cpu", **COSINE | flags)
    return Policy.open(out)


def reinforce(policy: Policy, out: Path, **flags: Any) -> Policy:
    shards = make_rl_shards(out.parent / f"shards-{out.name}", policy, shards=1)
    update(shards=shards, policy=policy.path, out=out, threads=1, device="cpu", **COSINE | {"beta": 0.0} | flags)
    return Policy.open(out)


def rate(policy: Policy) -> float:
    return read_record(policy.path)[-1]["lr"]


def counts(policy: Policy) -> dict[str, Any]:
    return json.loads((policy.state_dir / "state.json").read_text())


def schedule(total: int) -> Schedule:
    return Schedule(1e-3, 2, "cosine", total)


@pytest.mark.parametrize(("beta", "with_reference"), [(0.0, False), (0.0, True), (0.1, True)])
def test_a_loop_from_a_supervised_policy_begins_its_schedule(supervised, tmp_path, beta, with_reference):
    flags = {"total_steps": 3, "beta": beta} | ({"reference": supervised.path} if with_reference else {})
    policy, rates = supervised, []
    for step in range(3):
        policy = reinforce(policy, tmp_path / str(step), **flags)
        rates.append(rate(policy))
    assert rates == pytest.approx([schedule(3).at(step) for step in range(3)]) and min(rates) > 0
    assert counts(policy) == {"updates": 7, "run_steps": 3, "trains_on": "rollouts"}
    with pytest.raises(UsageError, match=r"--total-steps 3: .* has 3 steps of this run behind it.*--fresh-optimizer"):
        reinforce(policy, tmp_path / "more", **flags)
    assert rate(reinforce(policy, tmp_path / "more", **flags | {"total_steps": 6})) == schedule(6).at(3)


def test_a_loop_from_the_policy_of_another_loop_begins_its_schedule(start, tmp_path):
    first = reinforce(start, tmp_path / "first", total_steps=1)
    second = reinforce(first, tmp_path / "second", total_steps=1, reference=first.path)
    assert rate(second) == schedule(1).at(0) > 0


def test_supervised_training_that_has_used_its_schedule_up_is_refused(supervised, sft, tmp_path):
    for total in (2, 4):
        with pytest.raises(UsageError, match=f"--total-steps {total}: .* so the learning rate would be 0"):
            supervise(sft, supervised, tmp_path / "out", total_steps=total)
    assert not (tmp_path / "out").exists()
    longer = supervise(sft, supervised, tmp_path / "longer", total_steps=8)
    assert rate(longer) == schedule(8).at(7)
    fresh = supervise(sft, supervised, tmp_path / "fresh", total_steps=4, fresh_optimizer=True)
    assert rate(fresh) == schedule(4).at(3)


def test_a_cosine_over_the_steps_of_an_update_is_a_run_of_its_own(supervised, sft, tmp_path):
    assert rate(supervise(sft, supervised, tmp_path / "out")) == schedule(4).at(3)


def test_a_constant_rate_goes_on_without_another_warm_up(supervised, sft, tmp_path):
    again = supervise(sft, supervised, tmp_path / "out", schedule="constant", max_steps=1)
    assert rate(again) == 1e-3


def test_a_state_that_does_not_say_what_it_trained_on_counts_from_the_reference(supervised, tmp_path):
    supervised = Policy.open(shutil.copytree(supervised.path, tmp_path / "supervised"))
    (supervised.state_dir / "state.json").write_text('{"updates": 4}\n')
    (supervised.path / MARKER).write_text(json.dumps({**supervised.fields, "digests": {}}))
    supervised = Policy.open(supervised.path)
    policy = reinforce(supervised, tmp_path / "out", total_steps=3, reference=supervised.path)
    assert rate(policy) == schedule(3).at(0)
    with pytest.raises(UsageError, match="has 4 steps of this run behind it"):
        reinforce(supervised, tmp_path / "other", total_steps=3)


def test_a_rate_of_zero_is_said(start, sft, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ARL_QUIET", "1")
    supervise(sft, start, tmp_path / "out", total_steps=2)
    told = capsys.readouterr().err
    assert "--total-steps 2 is the step" in told and "the last 2 of 4 steps have learning rate 0" in told
    assert "the learning rate of the last step was 0" in told
