"""Recognition checkpoints through every stage with the real engine, from a checkpoint to a trained one.

Tiny random ones in real layouts. Families with the same decoder share an engine, by a weight update.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from arl.audio.io import encode_flac
from arl.audio.io import load as load_audio
from arl.engine import server
from arl.models import families
from arl.models.speech_lm.prompt import Ask
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined
from arl.shards.writer import write_shard
from arl.train.data import rl_batch
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.in_process import arl
from tests.models.speech_checkpoints import END, EOS, make_checkpoint

pytestmark = pytest.mark.engine

CLIPS = {"a": 0.4, "b": 1.1, "c": 0.7}  # seconds
GROUP, LONGEST = 4, 12
ENGINES = {"qwen2-audio": "qwen2", "fun-asr-nano": "qwen3", "qwen3-asr": "qwen3"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Clips, their shard, and the folder of the engines, which end with the tests."""
    folder = tmp_path_factory.mktemp("stages")
    rng = np.random.default_rng(0)
    clips = {key: (0.1 * rng.standard_normal(round(s * 16_000))).astype(np.float32) for key, s in CLIPS.items()}
    said = columns.dumps({"text": "one two"})
    rows = [(key, {"flac": encode_flac(clip, 16_000), columns.META: said}) for key, clip in clips.items()]
    write_shard(folder / "data" / "000000.tar", rows)
    yield SimpleNamespace(folder=folder, data=folder / "data", engine=folder / "engine")
    for name in set(ENGINES.values()):
        server.stop(folder / "engine" / name)


def hypotheses(folder: Path, *others: Path) -> list[Any]:
    return list(read_joined([path / "000000.tar" for path in (folder, *others)]))


def one_step(at: Path, data: Path, checkpoint: Path, engine: Path) -> None:
    """policy, emb, rollout, reward, next, greedy (of the next policy) and back, in `at`."""
    shards = [word for name in ("emb", "rollout", "reward") for word in ("--shards", at / name)]
    served = ("--engine", engine, "--max-new-tokens", LONGEST)
    arl("init", "--from", checkpoint, "-o", at / "policy")
    arl("encode", "--shards", data, "--policy", at / "policy", "-o", at / "emb")
    arl("sync", "--policy", at / "policy", "--engine", engine)
    arl("rollout", *shards[:2], "--policy", at / "policy", "--group", GROUP, *served, "-o", at / "rollout")
    arl("reward", *shards[2:4], "--with", "wer", "-o", at / "reward")
    arl("update", *shards, "--policy", at / "policy", "--lr", "1e-2", "-o", at / "next")
    arl("sync", "--policy", at / "next", "--engine", engine)
    arl("rollout", *shards[:2], "--policy", at / "next", "--temperature", 0, *served, "-o", at / "greedy")
    arl("export", "--policy", at / "next", "-o", at / "back")


def transcribed(name: str, folder: Path, flac: bytes) -> list[int]:
    """What transformers' own class says of a clip, greedily, from the family's own inputs."""
    family: Any = families()[name]
    model = family.model_class.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = family.inputs(family.load_processor(folder), load_audio(flac, 16_000), Ask())
    options = {"max_new_tokens": LONGEST, "do_sample": False, "repetition_penalty": 1.0, "eos_token_id": [EOS, END]}
    with torch.no_grad():
        ids = model.generate(**inputs, **options, pad_token_id=0)[0].tolist()
    return ids[inputs["input_ids"].shape[1] :]


@pytest.mark.parametrize("name", list(ENGINES))
def test_from_a_checkpoint_to_a_trained_one(place: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1", "ARL_QUIET": "1"}.items():
        monkeypatch.setenv(variable, value)
    at = place.folder / name
    one_step(at, place.data, make_checkpoint(name, at / "checkpoint"), place.engine / ENGINES[name])
    policy, trained = Policy.open(at / "policy"), Policy.open(at / "next")
    assert trained.step == 1 and trained.version != policy.version

    samples = hypotheses(at / "emb", at / "rollout", at / "reward")
    batch = rl_batch(samples, policy.version, allow_stale=False, correct=True, with_clips=True)
    with torch.no_grad():
        model = load_llm(policy.llm_dir, torch.device("cpu"))
        ours = shared_log_probs(model, batch.groups, policy.audio_token_id).log_probs
    engines = torch.cat([row for group in batch.groups for row in group.sampled])
    assert float((ours - engines).abs().mean()) <= 1e-3

    for sample in hypotheses(at / "greedy", place.data):
        ((hypothesis,),) = [sample.json(columns.ROLLOUT)["hyps"]]
        assert transcribed(name, at / "back", sample.members["flac"]) == hypothesis["tokens"]
    kept = json.loads((at / "back" / "generation_config.json").read_text())
    assert kept == json.loads((at / "checkpoint" / "generation_config.json").read_text())
