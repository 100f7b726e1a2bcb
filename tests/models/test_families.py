"""What the commands ask of a family: all families keep the protocol, each lack is one line, a new one is one folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from arl import models
from arl.audio.io import encode_flac
from arl.cli.main import make_app
from arl.errors import ArlError, UsageError
from arl.models import LACKING, Checkpoint, Family, Part, families, family_of, recognised
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.rows import Prompt
from arl.shards.writer import write_shard
from tests.models.toy_family import write_toy_family
from tests.tiny_asr import make_tiny_asr_policy
from tests.tiny_tts import make_tiny_tts_policy

NEEDED = {  # the methods of a part
    "checkpoints": ("recognises", "build"), "slim": ("export_slim", "restore"), "features": ("encoder",),
    "projector": ("load_frontend",), "decoder": ("synthesiser",), "voices": ("voice_waves",),
    "tokenizer": ("token_recogniser",),
}  # fmt: skip


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    folder = tmp_path_factory.mktemp("policies")
    made = [Policy.open(make_tiny_asr_policy(folder / "asr")), Policy.open(make_tiny_tts_policy(folder / "tts"))]
    return {policy.family: policy for policy in made}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The toy family beside the others, and a checkpoint of it."""
    write_toy_family(tmp_path / "families")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "families")])
    families.cache_clear()
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "toy-asr", "hidden": 64}')
    yield tmp_path / "checkpoint"
    families.cache_clear()
    sys.modules.pop("arl.models.toy_asr")


def arl(*words: object) -> None:
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def checkpoint(folder: Path, config: Any) -> Checkpoint:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return Checkpoint(str(folder))


# ---- the protocol -------------------------------------------------------------------------------------------------


def test_every_part_has_its_words_and_methods():
    assert set(LACKING) == set(NEEDED) == set(get_args(Part))


@pytest.mark.parametrize("name", families())
def test_a_family_has_the_methods_of_its_parts_alone(name):
    family, has = families()[name], set(families()[name].parts)
    assert family.name == name and has <= set(LACKING) and set(family.files) <= has
    for part, methods in NEEDED.items():
        for method in methods:
            is_its_own = getattr(type(family), method) is not getattr(Family, method)
            assert is_its_own == (part in has) or method == "encoder", f"{name}: {part}"
    assert type(family).encoder is not Family.encoder
    assert bool(family.takes) == ("checkpoints" in has)


def test_finding_families_is_light():
    code = "import sys, arl.models; arl.models.families(); print([n for n in ('torch', 'numpy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_policy_names_its_family(policies):
    assert all(family_of(policy).name == name for name, policy in policies.items())
    stray = Policy(Path("stray"), {"family": "wav2vec"})
    with pytest.raises(ArlError) as caught:
        family_of(stray)
    assert str(caught.value) == f"stray: unknown model family 'wav2vec'; known: {', '.join(families())}"
    assert {"qwen2-flow", "whisper-qwen2"} <= set(families())


# ---- what a family lacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", families())
@pytest.mark.parametrize("part", get_args(Part))
def test_asking_for_what_a_family_lacks_is_one_line(name, part):
    policy = Policy(Path("policy"), {"family": name})
    if part in families()[name].parts:
        assert family_of(policy, part).name == name
    else:
        with pytest.raises(UsageError) as caught:
            family_of(policy, part)
        assert str(caught.value) == f"{policy.path}: family {name} {LACKING[part]}"


def test_commands_say_what_the_policy_lacks_before_they_look_at_a_shard(policies, tmp_path):
    asr, tts = policies["whisper-qwen2"].path, policies["qwen2-flow"].path
    write_shard(tmp_path / "emb" / "000000.tar", [("a", Prompt([1]).members())])
    shards = ("--shards", tmp_path / "emb", "-o", tmp_path / "out")
    for words, message in (
        (("decode", *shards, "--policy", asr), "asr: family whisper-qwen2 has no decoder"),
        (("encode", "--features", *shards, "--policy", tts), "tts: family qwen2-flow has no features"),
        (
            ("update", "--loss", "sft", "--train-projector", *shards, "--policy", tts),
            "tts: family qwen2-flow has no projector to train",
        ),
        (
            ("train-token-asr", *shards, "--tokenizer", asr / "frontend"),
            "codec.safetensors: missing; --tokenizer is the frontend of a policy that can tokenise speech",
        ),
        (
            ("eval-speech", *shards, "--skip", "wer,mos", "--voices", asr / "frontend"),
            "no audio file, no folder of NAME.flac, and no frontend with speakers.json or voices.json",
        ),
    ):
        with pytest.raises(ArlError) as caught:
            arl(*words)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


# ---- checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_recognised_by_its_configuration(tmp_path):
    assert recognised(checkpoint(tmp_path / "whisper", {"model_type": "whisper"})).name == "whisper-qwen2"
    assert recognised(Checkpoint("whisper-tiny.en")).name == "whisper-qwen2"  # no hub is asked


@pytest.mark.parametrize("config", [{"model_type": "llama"}, {"model_type": "bert"}, {"d_model": 384}])
def test_another_checkpoint_is_one_line_with_what_is_taken(tmp_path, config):
    with pytest.raises(ArlError) as caught:
        arl("init", "--from", checkpoint(tmp_path / "other", config).source, "-o", tmp_path / "policy")
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'other'}: ") and line.endswith("whisper-base") and "\n" not in line
    assert all(family.takes in line for family in families().values())
    assert not (tmp_path / "policy").exists()


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "not a JSON object")])
def test_a_broken_configuration_is_one_line(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArlError, match=f"config.json: {message}"):
        recognised(Checkpoint(str(tmp_path)))


def test_of_a_hub_the_configuration_alone_is_fetched(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    asked = []

    def cached_file(name: str, file: str, revision: str | None) -> str:
        asked.append((name, file, revision))
        if name == "nobody/none":
            raise OSError("offline")
        return str(tmp_path / file)

    monkeypatch.setattr("transformers.utils.cached_file", cached_file)
    assert recognised(Checkpoint("openai/whisper-small@v2")).name == "whisper-qwen2"
    with pytest.raises(ArlError, match="nobody/none: .*nor on the hub.* Whisper"):
        recognised(Checkpoint("nobody/none"))
    assert asked == [("openai/whisper-small", "config.json", "v2"), ("nobody/none", "config.json", None)]


def test_flags_that_mean_nothing_to_a_slim_policy_are_refused(policies, tmp_path):
    arl("export", "--policy", policies["qwen2-flow"].path, "--slim", "-o", tmp_path / "slim")
    for flag, value in (("--llm", "new:64x1"), ("--stack", 4)):
        with pytest.raises(UsageError, match="slim: a slim policy has its own LLM"):
            arl("init", "--from", tmp_path / "slim", flag, value, "-o", tmp_path / "back")
    arl("init", "--from", tmp_path / "slim", "-o", tmp_path / "back")
    assert Policy.open(tmp_path / "back").is_tts


# ---- a family of one folder ---------------------------------------------------------------------------------------


def test_a_family_is_added_by_its_folder_alone(toy, tmp_path):
    arl("init", "--from", toy, "--seed", 3, "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    assert policy.family == "toy-asr"
    wave = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    meta = columns.dumps({"text": "one", "lang": "en"})
    write_shard(tmp_path / "data" / "000000.tar", [("a", {"flac": encode_flac(wave), columns.META: meta})])
    arl("encode", "--shards", tmp_path / "data", "--policy", policy.path, "--device", "cpu", "-o", tmp_path / "emb")
    (sample,) = read_shard(tmp_path / "emb" / "000000.tar")
    assert Prompt.of(sample).input_ids == policy.prompt
    assert columns.read_tensor(sample, columns.EMB, columns.EMB_TENSOR).shape == (5, 64)
    arl("export", "--policy", policy.path, "-o", tmp_path / "llm")
    assert (tmp_path / "llm" / "model.safetensors").read_bytes() == (policy.llm_dir / "model.safetensors").read_bytes()


def test_what_the_new_family_lacks_is_one_line_too(toy, tmp_path):
    arl("init", "--from", toy, "-o", tmp_path / "policy")
    with pytest.raises(UsageError, match="policy: family toy-asr has no slim form: ship the policy folder itself"):
        arl("export", "--policy", tmp_path / "policy", "--slim", "-o", tmp_path / "slim")
    with pytest.raises(UsageError, match="has no features in front of a projector"):
        arl("encode", "--features", "--shards", tmp_path, "--policy", tmp_path / "policy", "-o", tmp_path / "feat")
    assert not (tmp_path / "slim").exists() and not (tmp_path / "feat").exists()


def test_a_checkpoint_that_two_families_take_is_refused(toy, monkeypatch):
    whisper = families()["whisper-qwen2"]
    monkeypatch.setattr(type(whisper), "recognises", lambda self, checkpoint: True)
    with pytest.raises(ArlError, match="several families take it: whisper-qwen2, toy-asr"):
        recognised(Checkpoint(str(toy)))
