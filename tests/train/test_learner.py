"""Updates as a user makes them: resumed, killed, stale, refused. The weights are compared bit by bit."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arl.cli.update import update
from arl.errors import ArlError, UsageError
from arl.policy import Policy
from arl.runtime.model_cache import MODEL_CACHE
from arl.shards.paths import joined_shards
from arl.shards.record import read_record
from arl.train import learner as learner_module
from arl.train.job import UpdateJob
from arl.train.settings import UpdateSettings
from arl.train.steps import step_order
from tests.tiny import make_tiny_policy
from tests.tiny_asr import make_tiny_asr_policy
from tests.train.columns import make_rl_shards, make_sft_shards

FAST: dict[str, Any] = {"lr": 1e-2, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def asr(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy with a frontend, of the family whisper-qwen2."""
    return Policy.open(make_tiny_asr_policy(tmp_path_factory.mktemp("asr") / "policy"))


@pytest.fixture(scope="module")
def feat(asr: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sft_shards(tmp_path_factory.mktemp("feat"), asr, features=32)


def bits(policy: Policy) -> dict[str, bytes]:
    """Every file of a policy but the record, which holds seconds."""
    files = (path for path in sorted(policy.path.rglob("*")) if path.is_file() and path.name != "stage.jsonl")
    return {str(path.relative_to(policy.path)): path.read_bytes() for path in files}


def made(shards: list[str], policy: Policy, out: Path, **flags: Any) -> Policy:
    update(shards=shards, policy=policy.path, out=out, **FAST | flags)
    return Policy.open(out)


def left_beside(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(".") and out.name in path.name]


def killed(work: Callable[[], object], target: Any, name: str, at_call: int) -> None:
    """Runs `work` in a child that gets SIGKILL when it calls `target.name` for the `at_call`-th time."""

    def child() -> None:
        whole, calls = getattr(target, name), iter(range(1, 1000))

        def last(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*args, **kwargs)

        setattr(target, name, last)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


# ---- resuming ---------------------------------------------------------------------------------------------------


def test_two_steps_in_one_go_equal_one_and_one_with_the_saved_state(start, sft, tmp_path):
    both = [f"{source}/{{000000..000001}}.tar" for source in sft]
    one_go = made(both, start, tmp_path / "both", loss="sft", weight_decay=0.1)
    first = made([f"{source}/000000.tar" for source in sft], start, tmp_path / "first", loss="sft", weight_decay=0.1)
    second = made([f"{source}/000001.tar" for source in sft], first, tmp_path / "second", loss="sft", weight_decay=0.1)
    assert (start.step, first.step, second.step) == (0, 1, 2)
    assert one_go.version == second.version != first.version
    different = {"made"}
    for name in ("llm/model.safetensors", "state/optimizer.safetensors", "state/state.json"):
        assert bits(one_go)[name] == bits(second)[name]
    assert {k: v for k, v in one_go.fields.items() if k not in different} == {
        k: v for k, v in second.fields.items() if k not in different
    }


def test_a_fresh_optimizer_forgets_the_state(start, sft, tmp_path):
    one = [f"{source}/000000.tar" for source in sft]
    first = made(one, start, tmp_path / "first", loss="sft")
    continued = made(one, first, tmp_path / "continued", loss="sft")
    fresh = made(one, first, tmp_path / "fresh", loss="sft", fresh_optimizer=True)
    assert continued.version != fresh.version
    assert b'"updates": 2' in bits(continued)["state/state.json"]
    assert b'"updates": 1' in bits(fresh)["state/state.json"]


def test_the_first_pass_is_in_order_or_shuffled_by_its_seed():
    batches = [(f"{n:06d}", []) for n in range(8)]
    plain, one, two = (step_order(batches, 2, seed, shuffle) for seed, shuffle in ((1, False), (1, True), (2, True)))
    assert plain[:8] == batches and plain[8:] != batches
    assert one[8:] == plain[8:]  # the same flag changes no later pass
    assert len({str(order[:8]) for order in (plain, one, two)}) == 3
    assert all(sorted(order[at : at + 8]) == batches for order in (plain, one, two) for at in (0, 8))


def test_shuffled_supervised_training_depends_on_its_seed(start, sft, tmp_path):
    runs = [("one", 1, True), ("again", 1, True), ("two", 2, True), ("plain", 1, False), ("other", 2, False)]
    found = {
        name: bits(made(sft, start, tmp_path / name, loss="sft", seed=seed, shuffle=shuffle))["llm/model.safetensors"]
        for name, seed, shuffle in runs
    }
    assert found["one"] == found["again"] != found["two"]
    assert found["plain"] == found["other"] != found["one"]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_killed_sft_run_resumes_to_the_same_bits(start, sft, tmp_path, schedule):
    flags = {"loss": "sft", "epochs": 2, "save_every": 2, "schedule": schedule, "warmup": 3}
    calm = made(sft, start, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(sft, start, out, **flags), learner_module.Learner, "_apply", 8)
    assert not out.exists() and left_beside(out) == [".rough.checkpoint"]
    assert Policy.open(tmp_path / ".rough.checkpoint").fields["steps_done"] == 6
    rough = made(sft, start, out, **flags)
    assert bits(rough) == bits(calm)
    assert left_beside(out) == []


def test_a_run_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(start, sft, tmp_path):
    flags = {"loss": "sft", "save_every": 1}
    calm = made(sft, start, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(sft, start, out, **flags), learner_module, "save_state", 2)
    assert Policy.open(tmp_path / ".rough.checkpoint").fields["steps_done"] == 1
    assert len(left_beside(out)) == 2  # and a half-written folder
    assert bits(made(sft, start, out, loss="sft")) == bits(calm)
    assert left_beside(out) == []


def test_a_killed_grpo_run_resumes_with_the_old_log_probs_of_its_start(start, rl, tmp_path):
    flags = {"epochs": 3, "save_every": 2, "clip_low": 0.05, "clip_high": 0.05}
    calm = made(rl, start, tmp_path / "calm", **flags)
    assert read_record(calm.path)[0]["clip_fraction"] > 0  # so that the old log-probabilities matter
    out = tmp_path / "rough"
    killed(lambda: made(rl, start, out, **flags), learner_module, "save_state", 3)
    assert Policy.open(tmp_path / ".rough.checkpoint").fields["steps_done"] == 4
    assert bits(made(rl, start, out, **flags)) == bits(calm)


@pytest.mark.parametrize("ctc", [0.0, 0.5])
def test_a_killed_run_that_trains_the_projector_resumes_to_the_same_bits(asr, feat, tmp_path, ctc):
    flags = {"loss": "sft", "save_every": 2, "train_projector": True, "ctc": ctc}
    calm = made(feat, asr, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(feat, asr, out, **flags), learner_module, "save_state", 2)
    assert bits(made(feat, asr, out, **flags)) == bits(calm)
    assert ("auxiliary" in read_record(calm.path)[0]) == (ctc > 0)
    assert calm.frontend_id != asr.frontend_id
    before, after = bits(asr), bits(calm)
    assert before["frontend/tower.safetensors"] == after["frontend/tower.safetensors"]
    assert before["frontend/projector.safetensors"] != after["frontend/projector.safetensors"]


def test_a_checkpoint_of_other_settings_is_not_taken(start, sft, tmp_path):
    flags = {"loss": "sft", "save_every": 2}
    out = tmp_path / "out"
    killed(lambda: made(sft, start, out, **flags), learner_module.Learner, "_apply", 3)
    assert left_beside(out) == [".out.checkpoint"]
    other = made(sft, start, out, **flags, seed=1, weight_decay=0.5)
    assert bits(other) == bits(made(sft, start, tmp_path / "calm", **flags, seed=1, weight_decay=0.5))
    assert left_beside(out) == []


def test_an_update_that_is_made_already_is_skipped_unless_forced(start, rl, tmp_path, capsys):
    first = made(rl, start, tmp_path / "out")
    written = first.path.stat().st_ino
    assert made(rl, start, first.path).path.stat().st_ino == written
    assert "already made from these inputs" in capsys.readouterr().err
    redone = made(rl, start, first.path, force=True)
    assert redone.path.stat().st_ino != written and bits(redone) == bits(first)
    assert made(rl, start, first.path, beta=0.0).version != first.version


def test_the_same_llm_over_another_frontend_is_another_input(asr, feat, tmp_path):
    same = UpdateJob(asr, None, joined_shards(feat), tmp_path, UpdateSettings(loss="sft"))
    other = Policy(asr.path, asr.fields | {"frontend": "another"})
    assert replace(same, start=other).fingerprint != same.fingerprint
    assert replace(same, out=tmp_path / "elsewhere").fingerprint == same.fingerprint


# ---- what a policy folder holds ---------------------------------------------------------------------------------


def test_reinforcement_learning_keeps_tokenizer_and_frontend(asr, tmp_path):
    shards = make_rl_shards(tmp_path, asr, shards=1)
    policy = made(shards, asr, tmp_path / "next")
    policy.verify()
    assert policy.version.startswith("000001-") and policy.frontend_id == asr.frontend_id
    before, after = bits(asr), bits(policy)
    same = [name for name in before if name.startswith("frontend/") or "tokenizer" in name]
    assert len(same) >= 5
    assert all(before[name] == after[name] for name in same)
    record = read_record(policy.path)[0]
    assert record["policy"] == asr.version and record["arguments"]["lr"] == 1e-2
    assert {"loss", "kl", "entropy", "reward", "reward_wer", "grad_norm", "self_check", "seconds"} <= set(record)
    assert record["kl"] == 0 and record["self_check"] < 1e-3  # on-policy, at the reference


def test_a_failed_write_leaves_the_old_policy(start, rl, sft, tmp_path, monkeypatch):
    old = made(rl, start, tmp_path / "out")
    before = bits(old)
    monkeypatch.setattr(learner_module, "save_state", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(sft, start, tmp_path / "out", loss="sft")
    assert bits(Policy.open(old.path)) == before
    assert left_beside(old.path) == []


def test_edited_weights_are_noticed(start, rl, tmp_path):
    policy = Policy.open(make_tiny_policy(tmp_path / "policy"))
    policy.verify()
    weights = policy.llm_dir / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArlError, match="half-copied or was edited"):
        policy.verify()
    with pytest.raises(ArlError, match="half-copied or was edited"):
        made(rl, policy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_resident_process_hashes_only_weights_that_it_does_not_hold(start, rl, tmp_path, monkeypatch):
    monkeypatch.setattr(MODEL_CACHE, "is_resident", True)
    hashed: list[Path] = []
    verify = Policy.verify
    monkeypatch.setattr(Policy, "verify", lambda self: hashed.append(self.path) or verify(self))
    try:
        second = made(rl, start, tmp_path / "second")
        assert hashed == [start.path]
        third = made(rl, second, tmp_path / "third", allow_stale=True, reference=start.path)
        assert hashed == [start.path]
        os.utime(third.llm_dir / "model.safetensors")
        made(rl, third, tmp_path / "fourth", allow_stale=True, reference=start.path)
        assert hashed == [start.path, third.path]
    finally:
        MODEL_CACHE.clear()


# ---- rollouts of another version --------------------------------------------------------------------------------


def test_stale_rollouts_are_refused_unless_allowed(start, rl, tmp_path):
    stale = make_rl_shards(tmp_path, start, version="000007-abcdefabcdef")
    with pytest.raises(ArlError, match=f"rolled out by policy 000007-abcdefabcdef, not by {start.version}"):
        made(stale, start, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    policy = made(stale, start, tmp_path / "out", allow_stale=True)
    record = read_record(policy.path)[0]
    assert record["stale"] == record["groups"] == 3 and 0 < record["importance"] <= 2
    on_policy = made(rl, start, tmp_path / "fresh", allow_stale=True)
    assert "importance" not in read_record(on_policy.path)[0]
    assert policy.version != on_policy.version


def test_old_log_probs_are_of_the_rollouts_temperature(start, tmp_path):
    shards = make_rl_shards(tmp_path, start, temperature=0.5)
    policy = made(shards, start, tmp_path / "out", epochs=2, lr=0.0, beta=0.0)
    record = read_record(policy.path)[0]
    # nothing was learned, so every ratio is 1 and the objective the mean advantage of each group, 0
    assert record["clip_fraction"] == 0 and record["loss"] == pytest.approx(0, abs=1e-5)


# ---- what is refused --------------------------------------------------------------------------------------------


def test_wrong_embedding_width_is_one_line(start, tmp_path):
    shards = make_rl_shards(tmp_path, start, width=start.embedding_dim + 1)
    with pytest.raises(ArlError, match=r"utt-0-\d: embeddings are 65 wide, the LLM's 64: encode again") as caught:
        made(shards, start, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_later_policy_needs_its_reference(start, rl, sft, tmp_path):
    first = made([f"{source}/000000.tar" for source in sft], start, tmp_path / "first", loss="sft")
    shards = make_rl_shards(tmp_path, first)
    with pytest.raises(UsageError, match="is at step 1: give --reference START, or --beta 0"):
        made(shards, first, tmp_path / "out")
    anchored = made(shards, first, tmp_path / "anchored", reference=start.path)
    assert read_record(anchored.path)[0]["kl"] > 0
    assert "kl" not in read_record(made(shards, first, tmp_path / "free", beta=0.0).path)[0]


def test_state_of_other_parameters_is_refused(asr, feat, tmp_path):
    trained = made(feat, asr, tmp_path / "trained", loss="sft", train_projector=True)
    shards = make_rl_shards(tmp_path, trained, shards=1)
    with pytest.raises(ArlError, match="optimizer state of other parameters .*projector.*--fresh-optimizer"):
        made(shards, trained, tmp_path / "out", beta=0.0)
    made(shards, trained, tmp_path / "out", beta=0.0, fresh_optimizer=True)


def test_unencoded_utterances_are_left_out_of_supervised_training(start, sft, tmp_path):
    from arl.shards import columns
    from arl.shards.reader import read_joined
    from arl.shards.writer import write_shard

    rows = [(s.key, dict(s.members)) for s in read_joined([Path(sft[0]) / "000000.tar"])]
    rows[0] = (rows[0][0], {columns.PROMPT: columns.dumps({"input_ids": [], "error": "audio: no audio in it"})})
    write_shard(tmp_path / "emb" / "000000.tar", rows)
    policy = made([str(tmp_path / "emb"), f"{sft[1]}/000000.tar"], start, tmp_path / "out", loss="sft")
    assert read_record(policy.path)[0]["groups"] == len(rows) - 1
