"""`arl update` by several processes: the policy of one process, kept, resumed and refused as one process does."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from arl.cli.update import update
from arl.policy import Policy
from arl.shards.record import read_record
from arl.train import weights
from arl.train.learner import Learner
from arl.train.load import load_llm
from tests.tiny_asr import make_tiny_asr_policy
from tests.train.columns import make_rl_shards, make_sft_shards
from tests.train.ranks import run_ranks

FIVE: dict[str, Any] = {"lr": 1e-3, "device": "cpu", "threads": 1, "epochs": 3, "max_steps": 5, "save_every": 2}
LR = FIVE["lr"]


def make(ranks: int, shards: list[str], policy: Policy, out: Path, **flags: Any) -> Policy:
    """The policy that so many processes make; 1: without torchrun."""
    if ranks == 1:
        update(shards=shards, policy=policy.path, out=out, **flags)
    else:
        assert run_ranks(ranks, lambda: update(shards=shards, policy=policy.path, out=out, **flags)) == [0] * ranks
    return Policy.open(out)


def tensors(policy: Policy) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for file in sorted(policy.llm_dir.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def distance(one: Policy, other: Policy) -> float:
    """The largest difference of a weight."""
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def bits(policy: Policy) -> dict[str, bytes]:
    files = (path for path in sorted(policy.path.rglob("*")) if path.is_file() and path.name != "stage.jsonl")
    return {str(path.relative_to(policy.path)): path.read_bytes() for path in files}


def at_call(rank: int, target: Any, name: str, number: int, action: Callable[[], object]) -> Any:
    """Has one process do something else when it calls `target.name` for the `number`-th time."""
    whole, calls = getattr(target, name), iter(range(1, 1000))

    def replaced(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("RANK") == str(rank) and next(calls) == number:
            action()
        return whole(*args, **kwargs)

    return mock.patch.object(target, name, replaced)


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def one(start: Policy, rl: list[str], tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return make(1, rl, start, tmp_path_factory.mktemp("one") / "out", **FIVE)


@pytest.fixture(scope="module")
def two(start: Policy, rl: list[str], tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return make(2, rl, start, tmp_path_factory.mktemp("two") / "out", **FIVE)


@pytest.fixture(scope="module")
def noise(start: Policy, rl: list[str], one: Policy, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What float32 rounding explains: how far one process gets from itself with other micro-batches."""
    return distance(one, make(1, rl, start, tmp_path_factory.mktemp("noise") / "out", **FIVE, tokens=1))


def test_five_steps_of_two_processes_end_where_those_of_one_do(start, one, two, noise):
    print(noise, distance(one, two), distance(one, start))
    assert 100 * noise < distance(one, start) and distance(one, two) <= 4 * noise
    two.verify()
    same = {"step", "family", "prompt", "frontend", "made"}
    assert {name: two.fields[name] for name in same} == {name: one.fields[name] for name in same}
    assert two.fields["probe"]["logprobs"] == pytest.approx(one.fields["probe"]["logprobs"], abs=1e-4)
    assert bits(one).keys() - bits(two).keys() == {"state/optimizer.safetensors"}
    assert bits(one)["llm/config.json"] == bits(two)["llm/config.json"]
    (line,) = read_record(two.path)
    (expected,) = read_record(one.path)
    assert line["ranks"] == 2 and line.keys() - expected.keys() == {"ranks"}
    for name in ("loss", "kl", "reward", "grad_norm", "entropy", "clip_fraction", "groups", "tokens"):
        assert line[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5)


def test_a_run_whose_process_was_killed_goes_on_with_the_same_bits(start, rl, two, one, noise, tmp_path, capfd):
    """And with another number of processes, 1 too, where it would have ended."""
    out, said = tmp_path / "out", tmp_path / "said"

    def work() -> None:
        with at_call(1, Learner, "_apply", 4, kill_oneself):
            update(shards=rl, policy=start.path, out=out, **FIVE)

    assert run_ranks(2, work, said) == [1, -signal.SIGKILL]
    assert said.read_text().splitlines() == [line := said.read_text().strip()]
    assert line.startswith("arl: update: process 0 of 2 has lost another one, which was killed or did not answer")
    assert not out.exists() and Policy.open(tmp_path / ".out.checkpoint").fields["steps_done"] == 2
    for ranks in (1, 3):
        shutil.copytree(tmp_path / ".out.checkpoint", tmp_path / f".on-{ranks}.checkpoint")
        assert distance(make(ranks, rl, start, tmp_path / f"on-{ranks}", **FIVE), one) <= 4 * noise
    assert bits(make(2, rl, start, out, **FIVE)) == bits(two)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["on-1", "on-3", "out", "said"]


def test_a_process_killed_while_it_writes_leaves_the_old_policy(start, rl, two, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(two.path, out)
    before = bits(Policy.open(out))

    def work() -> None:
        with at_call(1, weights, "gather", 1, kill_oneself):
            update(shards=rl, policy=start.path, out=out, **FIVE | {"max_steps": 1}, force=True)

    assert run_ranks(2, work, tmp_path / "said") == [1, -signal.SIGKILL]
    assert bits(Policy.open(out)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "said"]


def test_a_process_that_hangs_is_given_up(start, rl, tmp_path):
    def work() -> None:
        with at_call(1, Learner, "_apply", 1, lambda: time.sleep(60)):
            update(shards=rl, policy=start.path, out=tmp_path / "out", **FIVE | {"max_steps": 1})

    said = tmp_path / "said"
    assert run_ranks(2, work, said, ARL_RANK_TIMEOUT="2") == [1, -signal.SIGKILL]
    assert "did not answer for 2 s (ARL_RANK_TIMEOUT)" in said.read_text()
    assert not (tmp_path / "out").exists()


def test_what_is_refused_is_said_once(start, rl, tmp_path):
    stale = make_rl_shards(tmp_path, start, version="000007-abcdefabcdef")
    said = tmp_path / "said"
    assert run_ranks(2, lambda: update(shards=stale, policy=start.path, out=tmp_path / "out", **FIVE), said) == [1, 1]
    (line,) = said.read_text().splitlines()
    assert line.startswith("arl: ") and "utt-0-0: rolled out by policy 000007-abcdefabcdef, not by " in line
    assert not (tmp_path / "out").exists()


def test_large_weights_are_written_by_all_processes(start, rl, two, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FILE_BYTES", 60_000)
    large = make(2, rl, start, tmp_path / "out", **FIVE)
    large.verify()
    assert len(list(large.llm_dir.glob("model-*-of-*.safetensors"))) > 2
    assert distance(large, two) == 0 and large.fields["probe"] == two.fields["probe"]
    loaded = load_llm(large.llm_dir, torch.device("cpu")).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors(two).items())
    # and an update of one process goes on from them
    shards = make_rl_shards(tmp_path, large, shards=1)
    assert make(1, shards, large, tmp_path / "next", **FIVE | {"epochs": 1}, beta=0.0).step == large.step + 1


def test_the_projector_is_trained_by_all_processes(tmp_path):
    asr = Policy.open(make_tiny_asr_policy(tmp_path / "policy"))
    shards = make_sft_shards(tmp_path, asr, features=32, shards=1, utterances=3)
    flags = FIVE | {"loss": "sft", "train_projector": True, "ctc": 0.5, "epochs": 2}
    with mock.patch("torch.nn.functional.dropout", lambda x, *args: x):  # every process draws its own
        one, two = (make(ranks, shards, asr, tmp_path / f"on-{ranks}", **flags) for ranks in (1, 2))
    first, second = (load_file(policy.frontend_dir / "projector.safetensors") for policy in (one, two))
    before = load_file(asr.frontend_dir / "projector.safetensors")
    apart = torch.cat([(first[name] - second[name]).abs().flatten() for name in first])
    # Adam makes whole steps of gradients that are rounding alone, which differs from processor to processor
    assert apart.quantile(0.999) < LR / 20 and apart.max() < LR
    assert max(float((first[name] - before[name]).abs().max()) for name in first) > LR
    (line,), (expected,) = read_record(two.path), read_record(one.path)
    for name in ("loss", "auxiliary", "grad_norm"):
        assert line[name] == pytest.approx(expected[name], rel=1e-3)


def test_an_adapter_is_trained_by_all_processes(start, rl, tmp_path):
    flags = FIVE | {"lora_rank": 4}
    one, two = (make(ranks, rl, start, tmp_path / f"on-{ranks}", **flags) for ranks in (1, 2))
    first, second = (load_file(policy.path / "adapter" / "adapter_model.safetensors") for policy in (one, two))
    assert first.keys() == second.keys() and max(float(tensor.abs().max()) for tensor in first.values()) > LR
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < LR / 20
    assert bits(two)["llm/model.safetensors"] == bits(start)["llm/model.safetensors"]
