"""Damaged state, weights and shards: each is refused in one line, and nothing is written."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from arl.cli.update import update
from arl.errors import ArlError, UsageError
from arl.policy import MARKER, Policy, weights_digest
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard
from arl.train.load import load_llm
from tests.tiny import VOCABULARY, make_tiny_policy
from tests.train.columns import make_rl_shards, make_sft_shards

FAST: dict[str, Any] = {"lr": 1e-2, "threads": 1, "device": "cpu", "beta": 0.0}
CPU = torch.device("cpu")


def one(shards: list[str]) -> list[str]:
    return [f"{folder}/000000.tar" for folder in shards]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_policy(tmp_path_factory.mktemp("start") / "policy"))


@pytest.fixture
def trained(start: Policy, tmp_path: Path) -> Policy:
    """A policy after one update, with its state, that a test may damage."""
    shards = one(make_sft_shards(tmp_path / "sft", start, shards=1))
    update(shards=shards, policy=start.path, out=tmp_path / "trained", loss="sft", **FAST)
    return Policy.open(tmp_path / "trained")


def counts(value: Any) -> Callable[[Path], object]:
    return lambda state: (state / "state.json").write_text(json.dumps(value))


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def damage(state: Path) -> None:
        found = load_file(state / "optimizer.safetensors")
        change(found)
        save_file(found, state / "optimizer.safetensors")

    return damage


def cut(state: Path) -> None:
    path = state / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def set_first(kind: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(found: dict[str, torch.Tensor]) -> None:
        next(t for name, t in sorted(found.items()) if name.endswith(kind)).view(-1)[0] = value

    return change


def other_shape(found: dict[str, torch.Tensor]) -> None:
    name = sorted(found)[0]
    found[name] = found[name][:1].clone()


def first_lost(found: dict[str, torch.Tensor]) -> None:
    found.pop(sorted(found)[0])


STATES: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "negative": (counts({"updates": -5}), "'updates' is -5"),
    "a word": (counts({"updates": "one"}), "'updates' is 'one'"),
    "a fraction": (counts({"updates": 0.5}), "'updates' is 0.5"),
    "true": (counts({"updates": True}), "'updates' is True"),
    "too many": (counts({"updates": 7}), "7 updates, and the policy is at step 1"),
    "none": (counts({}), "'updates' is None"),
    "a list": (counts([1]), "not a JSON object"),
    "no counts": (lambda state: (state / "state.json").unlink(), "missing or damaged"),
    "cut counts": (lambda state: (state / "state.json").write_text('{"upd'), "missing or damaged"),
    "no file": (lambda state: (state / "optimizer.safetensors").unlink(), "missing or damaged"),
    "cut": (cut, "missing or damaged"),
    "NaN": (tensors(set_first("exp_avg", float("nan"))), "exp_avg has NaN or infinite values"),
    "infinite": (tensors(set_first("exp_avg_sq", float("inf"))), "exp_avg_sq has NaN or infinite values"),
    "no square": (tensors(set_first("exp_avg_sq", -1.0)), "exp_avg_sq has negative values"),
    "shape": (tensors(other_shape), r"is \[1, 64\], and the parameter \[40, 64\]"),
    "a tensor lost": (tensors(first_lost), "no llm.model.embed_tokens.weight/exp_avg in the optimizer state"),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_damaged_optimizer_state_is_one_line_that_names_the_way_out(trained, tmp_path, kind):
    damage, message = STATES[kind]
    damage(trained.state_dir)
    shards = one(make_rl_shards(tmp_path, trained, shards=1))
    with pytest.raises(ArlError, match=message) as caught:
        update(shards=shards, policy=trained.path, out=tmp_path / "out", **FAST)
    assert "--fresh-optimizer" in str(caught.value) and "\n" not in str(caught.value)
    assert str(trained.state_dir) in str(caught.value)
    assert not (tmp_path / "out").exists()
    update(shards=shards, policy=trained.path, out=tmp_path / "out", fresh_optimizer=True, **FAST)
    assert Policy.open(tmp_path / "out").step == 2


def test_a_trained_policy_without_its_state_is_refused(trained, tmp_path):
    (trained.state_dir / "state.json").unlink()
    (trained.state_dir / "optimizer.safetensors").unlink()
    trained.state_dir.rmdir()
    shards = one(make_rl_shards(tmp_path, trained, shards=1))
    with pytest.raises(ArlError, match=r"state: missing, though .* is at step 1.*--fresh-optimizer"):
        update(shards=shards, policy=trained.path, out=tmp_path / "out", **FAST)


# ---- shards -----------------------------------------------------------------------------------------------------


def changed(folder: str, out: Path, member: str, change: Callable[[bytes], bytes]) -> str:
    """The shard with a member of its first sample changed."""
    rows = [(sample.key, dict(sample.members)) for sample in read_shard(Path(folder) / "000000.tar")]
    rows[0][1][member] = change(rows[0][1][member])
    write_shard(out / "000000.tar", rows)
    return str(out)


def with_token(data: bytes) -> bytes:
    row = json.loads(data)
    row["hyps"][0]["tokens"][0] = 999
    return columns.dumps(row)


def with_clip(clip: torch.Tensor) -> Callable[[bytes], bytes]:
    return lambda _: columns.save_tensor("emb", clip)


def with_nan(_: bytes) -> bytes:
    clip = torch.zeros(3, 64)
    clip[1, 5] = float("nan")
    return columns.save_tensor("emb", clip)


def drop(name: str) -> Callable[[bytes], bytes]:
    return lambda data: columns.dumps({key: value for key, value in json.loads(data).items() if key != name})


DAMAGE: Mapping[str, tuple[int, str, Callable[[bytes], bytes], str]] = {
    "token": (1, columns.ROLLOUT, with_token, f"its response has token 999, and the policy knows {VOCABULARY} tokens"),
    "prompt token": (
        0, columns.PROMPT, lambda _: columns.dumps({"input_ids": [1, 4, 40]}), "its prompt has token 40",
    ),
    "NaN": (0, columns.EMB, with_nan, "emb.safetensors: NaN or infinite values; encode again"),
    "infinity": (0, columns.EMB, with_clip(torch.full((2, 64), torch.inf)), "NaN or infinite values"),
    "half infinity": (0, columns.EMB, with_clip(torch.full((2, 64), torch.inf).bfloat16()), "NaN or infinite"),
    "one dimension": (0, columns.EMB, with_clip(torch.zeros(64)), r"shape \[64\] is not \[T, H\]"),
    "integers": (0, columns.EMB, with_clip(torch.zeros(2, 64, dtype=torch.int32)), "int32 numbers are no embeddings"),
    "no tensor": (0, columns.EMB, lambda _: columns.save_tensor("x", torch.zeros(2, 64)), "no tensor 'emb'"),
    "no hyps": (1, columns.ROLLOUT, drop("hyps"), "'hyps' is not a list of hypotheses; roll out again"),
    "no rewards": (2, columns.REWARD, drop("rewards"), "'rewards' is not a list of numbers"),
    "no prompt ids": (0, columns.PROMPT, drop("input_ids"), "'input_ids' is not a list of token ids"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_sample_is_one_line_with_file_and_key(start, tmp_path, kind):
    column, member, change, message = DAMAGE[kind]
    shards = make_rl_shards(tmp_path, start, shards=1)
    shards[column] = changed(shards[column], tmp_path / "damaged", member, change)
    with pytest.raises(ArlError, match=message) as caught:
        update(shards=shards, policy=start.path, out=tmp_path / "out", **FAST)
    assert f"{tmp_path / 'damaged'}/000000.tar" in str(caught.value) and "utt-0-0" in str(caught.value)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


# ---- weights ----------------------------------------------------------------------------------------------------


def edited(start: Policy, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Policy:
    """A copy with other weights whose version is theirs, as if they had been written so."""
    policy = Policy.open(make_tiny_policy(folder))
    file = policy.llm_dir / "model.safetensors"
    found = load_file(file)
    change(found)
    save_file(found, file, metadata={"format": "pt"})
    version = f"{policy.step:06d}-{weights_digest(policy.llm_dir)}"
    (folder / MARKER).write_text(json.dumps(policy.fields | {"version": version}))
    return Policy.open(folder)


NORM = "model.norm.weight"
WEIGHTS: Mapping[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (lambda found: found.pop(NORM), f"tensor {NORM} is missing"),
    "unexpected": (lambda found: found.update(odd=torch.zeros(1)), "tensor odd is not one of the model's"),
    "NaN": (lambda found: found[NORM].fill_(torch.nan), f"tensor {NORM} has NaN or infinite values"),
    "shape": (lambda found: found.update({NORM: torch.zeros(3)}), "cannot be loaded|has another shape"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_not_whole_and_finite_are_refused(start, tmp_path, kind):
    change, message = WEIGHTS[kind]
    policy = edited(start, tmp_path / "policy", change)
    with pytest.raises(ArlError, match=message) as caught:
        load_llm(policy.llm_dir, CPU)
    assert str(policy.llm_dir) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tied_head_is_not_missing_and_an_untied_one_is(start, tmp_path):
    assert "lm_head.weight" not in load_file(start.llm_dir / "model.safetensors")
    load_llm(start.llm_dir, CPU)
    policy = Policy.open(make_tiny_policy(tmp_path / "policy"))
    config = policy.llm_dir / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tie_word_embeddings": False}))
    with pytest.raises(ArlError, match="tensor lm_head.weight is missing"):
        load_llm(policy.llm_dir, CPU)


def test_code_that_comes_with_weights_is_not_run(tmp_path, monkeypatch):
    from arl.models.whisper_qwen2.build import pretrained_llm

    folder = Policy.open(make_tiny_policy(tmp_path / "policy")).llm_dir
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    auto_map = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | {"auto_map": auto_map}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    load_llm(folder, CPU)
    pretrained_llm(str(folder))
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    for load in (lambda: load_llm(folder, CPU), lambda: pretrained_llm(str(folder))):
        with pytest.raises(ArlError) as caught:
            load()
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_weights_that_an_update_makes_infinite_are_not_written(start, tmp_path):
    shards = one(make_sft_shards(tmp_path / "sft", start, shards=1))
    with pytest.raises(ArlError, match="the update: tensor llm.* has NaN or infinite values: nothing is written"):
        update(shards=shards, policy=start.path, out=tmp_path / "out", loss="sft", **FAST | {"lr": 1e39})
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


# ---- places -----------------------------------------------------------------------------------------------------


def test_an_update_does_not_write_over_what_it_reads(start, tmp_path):
    shards = make_rl_shards(tmp_path, start, shards=1)
    policy = make_tiny_policy(tmp_path / "policy")
    (tmp_path / "link").symlink_to("policy")
    for out in (policy, tmp_path / "link", policy / "next", tmp_path / "rollout"):
        with pytest.raises(UsageError, match="is, holds or lies in the input"):
            update(shards=shards, policy=policy, out=out, **FAST)
    Policy.open(policy).verify()


def test_an_output_that_cannot_be_written_is_found_before_the_training(start, tmp_path, monkeypatch):
    shards = make_rl_shards(tmp_path, start, shards=1)
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("arl.train.run.load_learner", lambda *_: pytest.fail("trained"))
    for out in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "emb-of-others"):
        (tmp_path / "emb-of-others").mkdir(exist_ok=True)
        (tmp_path / "emb-of-others" / "precious").write_text("x")
        with pytest.raises(ArlError, match=r"cannot be written|is not replaced"):
            update(shards=shards, policy=start.path, out=out, **FAST)


def test_a_flipped_bit_in_the_optimizer_state_is_noticed(trained, tmp_path):
    tensors(set_first("exp_avg", 1e-3))(trained.state_dir)
    shards = one(make_rl_shards(tmp_path, trained, shards=1))
    with pytest.raises(ArlError, match=r"state: not the files that this policy was written with: --fresh-optimizer"):
        update(shards=shards, policy=trained.path, out=tmp_path / "out", **FAST)
