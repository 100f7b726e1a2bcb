"""`arl init` of a speech LLM: from the hub's cache, and checkpoints and flags that are refused."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from arl.errors import ArlError, UsageError
from arl.models import InitOptions, recognised
from arl.models.checkpoint import Checkpoint
from tests.models.speech_lm_case import build


def test_a_name_of_the_hub_without_network(cases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache is used, its offline switch honoured, and the revision recorded."""
    from huggingface_hub import constants

    place, commit = tmp_path / "hub" / "models--org--asr", "c0ffee" + "0" * 34
    shutil.copytree(cases("qwen3-asr").checkpoint, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("org/asr", f"org/asr@{commit}"):
        checkpoint = Checkpoint(name)
        policy = recognised(checkpoint).build(checkpoint, tmp_path / "policy", InitOptions())
        assert policy.fields["source"] == name and policy.fields["revision"] == commit
        assert policy.version == cases("qwen3-asr").policy.version
    with pytest.raises(ArlError, match="nor on the hub"):
        recognised(Checkpoint("org/other"))


@pytest.fixture
def checkpoint(cases: Any, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(cases("qwen3-asr").checkpoint, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def rewrite(folder: Path, change: Any) -> None:
    """Changes the tensors of the last shard, and the index with them."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    file = folder / max(index["weight_map"].values())
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    kept = {name: place for name, place in index["weight_map"].items() if place != file.name}
    index["weight_map"] = kept | dict.fromkeys(tensors, file.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


NORM = "model.language_model.norm.weight"


def test_missing_extra_and_ill_shaped_tensors(checkpoint: Path, tmp_path: Path) -> None:
    rewrite(checkpoint, lambda tensors: tensors.update(stray=torch.zeros(2)))
    with pytest.raises(ArlError, match="tensor stray is none of Qwen3ASRForConditionalGeneration's"):
        build(checkpoint, tmp_path / "policy")
    rewrite(checkpoint, lambda tensors: (tensors.pop("stray"), tensors.pop(NORM)))
    with pytest.raises(ArlError, match=f"1 tensors are missing, first {NORM}"):
        build(checkpoint, tmp_path / "policy")
    rewrite(checkpoint, lambda tensors: tensors.update({NORM: torch.zeros(65)}))
    with pytest.raises(ArlError, match=rf"{NORM} is \[65\], and config.json makes it \[64\]"):
        build(checkpoint, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_a_damaged_tower_is_one_line(cases: Any, tmp_path: Path) -> None:
    from arl.models.speech_lm.tower import load_tower

    case = cases("qwen3-asr")
    shutil.copytree(case.policy.frontend_dir, tmp_path / "frontend")
    file = max((tmp_path / "frontend" / "checkpoint").glob("*.safetensors"))
    whole = load_file(file)
    name = min(name for name in whole if name.endswith("weight"))
    for tensors, said in (
        ({**whole, name: whole[name] * torch.nan}, "has NaN or infinite values"),
        ({key: tensor for key, tensor in whole.items() if key != name}, "of the audio tower is missing"),
    ):
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(ArlError, match=said):
            load_tower(case.family, tmp_path / "frontend")


def test_damaged_files(checkpoint: Path, tmp_path: Path) -> None:
    shard = sorted(checkpoint.glob("*.safetensors"))[0]
    data = shard.read_bytes()
    shard.write_bytes(data[:-5])
    with pytest.raises(ArlError, match="and its header says"):
        build(checkpoint, tmp_path / "policy")
    shard.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ArlError, match="not a safetensors file"):
        build(checkpoint, tmp_path / "policy")
    shard.unlink()
    with pytest.raises(ArlError, match="is missing, and model.safetensors.index.json names it"):
        build(checkpoint, tmp_path / "policy")


def test_pickles(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.glob("*.safetensors*"):
        file.unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ArlError, match="its weights are pickles, which can run code"):
        build(checkpoint, tmp_path / "policy")


def test_the_same_weights_in_another_form_are_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "consolidated.safetensors").write_bytes(b"")
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    policy = build(checkpoint, tmp_path / "policy")
    assert (
        "left out, as weights in another form: consolidated.safetensors, pytorch_model.bin" in capsys.readouterr().err
    )
    assert not list(policy.frontend_dir.rglob("*.bin"))


def test_flags_that_mean_nothing(cases: Any, tmp_path: Path) -> None:
    for name, options, line in (
        ("qwen3-asr", InitOptions(llm="new:64x1"), "it has its own LLM"),
        ("glm-asr", InitOptions(language="en"), "no place for --language"),
        ("qwen2-audio", InitOptions(hotwords=True), "no place for --hotwords"),
        ("qwen3-asr", InitOptions(language="tlh"), "does not take the request"),
    ):
        with pytest.raises(UsageError, match=line):
            build(cases(name).checkpoint, tmp_path / "policy", options)


def test_a_full_disk_is_noticed_first(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ArlError, match="needs 0.0 GB, and the disk has 0.0 GB free"):
        build(checkpoint, tmp_path / "policy")
