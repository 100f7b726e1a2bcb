"""A policy with an adapter from the trainer to the engine and back: two updates, synced, rolled out, compared."""

from pathlib import Path
from typing import Any

import pytest
from engine_place import Place

from arl.cli.update import update
from arl.engine.client import Engine
from arl.engine.rollout_stage import Sampling, roll_out
from arl.engine.served_model import ServedModel
from arl.engine.server import connect, start, stop
from arl.engine.sync_stage import sync_policy
from arl.errors import ArlError
from arl.policy import Policy
from arl.shards.reader import read_joined
from tests.tiny import AUDIO
from tests.train.columns import make_rl_shards

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def adapted(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The first policy after two updates of an adapter, the second by the adapter that the first has made."""
    folder, policy = tmp_path_factory.mktemp("adapted"), Policy.open(place.policy)
    flags: dict[str, Any] = {"lora_rank": 4, "lr": 0.03, "threads": 1, "device": "cpu"}
    for name in ("one", "two"):
        shards = make_rl_shards(folder / f"{name}-shards", policy, shards=1)
        update(shards=shards, policy=policy.path, out=folder / name, **flags)
        policy, flags = Policy.open(folder / name), {**flags, "lora_rank": 0}
    return policy


def worst_log_prob(policy: Policy, place: Place, rollout: Path) -> float:
    """max |Δ log-probability| of the rolled out tokens between the engine and the trainer."""
    import torch

    from arl.shards import columns
    from arl.shards.rows.rollout import Rollout
    from arl.train.data import read_clip
    from arl.train.groups import PromptGroup
    from arl.train.lora import start_llm
    from arl.train.shared_prefix import shared_log_probs

    model, worst = start_llm(policy, torch.device("cpu")), 0.0
    for sample in read_joined([place.folder / "emb" / "000000.tar", rollout / "000000.tar"]):
        row = Rollout.of(sample)
        assert row.policy == policy.version
        responses = [torch.tensor(hyp.tokens) for hyp in row.hyps]
        clip = read_clip(sample, columns.EMB, "emb")
        group = PromptGroup(sample.key, torch.tensor(policy.prompt), [clip], responses, [0.0] * len(responses))
        with torch.no_grad():
            own = shared_log_probs(model, [group], AUDIO).log_probs
        sampled = torch.cat([torch.tensor(hyp.logprobs) for hyp in row.hyps])
        worst = max(worst, float((own - sampled).abs().max()))
    return worst


def check_rollout(policy: Policy, place: Place, state: Path, out: Path) -> None:
    """Rolls out a policy that the engine serves, and compares: the engine computes what the trainer does."""
    roll_out([str(place.folder / "emb")], out, Sampling(3, max_new_tokens=12), engine=state, policy=policy.path)
    assert worst_log_prob(policy, place, out) < 1e-3


def test_an_engine_of_whole_weights_serves_base_and_adapter_merged(
    engine: Engine, place: Place, adapted: Policy, tmp_path: Path
) -> None:
    base = Policy.open(place.policy)
    assert sync_policy(adapted.path, place.state)["probe_mean"] < 1e-4
    check_rollout(adapted, place, place.state, tmp_path / "adapted")
    engine.update_weights(ServedModel.of(base))
    check_rollout(base, place, place.state, tmp_path / "base")


@pytest.fixture(scope="module")
def apart(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The state folder of an engine that keeps adapters apart, started on the base."""
    state = tmp_path_factory.mktemp("apart")
    start(place.policy, state, device="cpu", lora_rank=4)
    yield state
    stop(state)


def test_an_engine_that_keeps_adapters_apart_serves_one_after_another(
    place: Place, apart: Path, adapted: Policy, tmp_path: Path
) -> None:
    before = Policy.open(adapted.path.parent / "one")
    for number, policy in enumerate((adapted, before, adapted)):
        assert sync_policy(policy.path, apart)["probe_mean"] < 1e-4
        check_rollout(policy, place, apart, tmp_path / str(number))
        assert connect(apart).adapter.startswith(policy.version) and connect(apart).base == adapted.base_version


def test_its_base_can_be_another_one_and_memory_comes_back(
    place: Place, apart: Path, adapted: Policy, tmp_path: Path
) -> None:
    other = Policy.open(place.next_policy)
    client = Engine(connect(apart))
    client.update_weights(ServedModel.of(other))
    check_rollout(other, place, apart, tmp_path / "other")
    client.update_weights(ServedModel.of(adapted))
    client.release()
    client.wake(ServedModel.of(adapted))
    check_rollout(adapted, place, apart, tmp_path / "adapted")


def test_an_adapter_of_a_larger_rank_is_one_line(place: Place, apart: Path, tmp_path: Path) -> None:
    base = Policy.open(place.policy)
    shards = make_rl_shards(tmp_path, base, shards=1)
    update(shards=shards, policy=base.path, out=tmp_path / "large", lora_rank=8, threads=1, device="cpu")
    with pytest.raises(ArlError, match="rank 8 is incompatible .*unusable until a good") as caught:
        sync_policy(tmp_path / "large", apart)
    assert "\n" not in str(caught.value)
    with pytest.raises(ArlError, match="keeps adapters of up to rank 4 apart, not 8: arl engine stop"):
        start(place.policy, apart, device="cpu", lora_rank=8)
