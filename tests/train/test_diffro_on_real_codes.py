"""DiffRO on the codes of checkpoints: recordings → codes → a recogniser of them → a policy trained by it.

CosyVoice2's 6561 codes, by its speech tokenizer's ONNX file, and those of a plain LM and its codec, tiny and random.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.models.token_asr import model as token_asr
from arl.policy import Policy
from arl.rewards.advantages import advantages
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.record import read_record
from arl.shards.rows import Codes
from arl.shards.writer import write_shard
from tests.in_process import arl
from tests.models.codec_checkpoints import make_llasa, make_xcodec2
from tests.models.cosyvoice_checkpoints import make_cosyvoice
from tests.models.onnx_files import write_tokenizer
from tests.train.test_learner import made

TEXTS = {"a": "they go", "b": "he", "c": "the hen [breath] goes", "d": "room 5"}
GROUP, READ = 3, {"a", "b", "c"}  # the recogniser has no digits


def make_policy(family: str, at: Path) -> Policy:
    """A policy whose family hears recordings."""
    if family == "llasa":
        arl("init", "--from", make_llasa(at / "lm"), "--codec", make_xcodec2(at / "codec"), "-o", at / "policy")
        return Policy.open(at / "policy")
    folder = make_cosyvoice(at / "checkpoint")
    write_tokenizer(folder / "speech_tokenizer_v2.onnx")
    arl("init", "--from", folder, "-o", at / "policy")
    return Policy.open(at / "policy")


def write_recordings(folder: Path) -> None:
    noise, rows = np.random.default_rng(0), []
    for key, text in TEXTS.items():
        wave = (0.1 * noise.standard_normal(16_000)).astype(np.float32)
        rows.append((key, {"flac": encode_flac(wave), columns.META: columns.dumps({"text": text, "lang": "en"})}))
    write_shard(folder / "000000.tar", rows)


def write_rollouts(at: Path, policy: Policy) -> None:
    """rollout/ and reward/: GROUP random responses of codes and an end to each text."""
    rng, (first, n) = random.Random(0), policy.acoustic
    rows: dict[str, list[tuple[str, dict[str, bytes]]]] = {"rollout": [], "reward": []}
    for key in TEXTS:
        hyps = []
        for _ in range(GROUP):
            tokens = [first + rng.randrange(n) for _ in range(rng.randint(14, 20))] + [policy.eos_token_id]
            hyps.append({"text": "", "tokens": tokens, "logprobs": [-3.0] * len(tokens), "finish": "stop"})
        values: list[float | None] = [rng.random() for _ in hyps]
        scored: dict[str, Any] = {"components": {"asr": values}, "rewards": values, "advantages": advantages(values)}
        content = {"policy": policy.version, "temperature": 1.0, "hyps": hyps}
        rows["rollout"].append((key, {columns.ROLLOUT: columns.dumps(content)}))
        rows["reward"].append((key, {columns.REWARD: columns.dumps(scored)}))
    for name, samples in rows.items():
        write_shard(at / name / "000000.tar", samples)


@pytest.mark.parametrize("family", ["cosyvoice2", "llasa"])
def test_recordings_make_a_recogniser_that_trains_the_policy(family, tmp_path, monkeypatch):
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1", "ARL_QUIET": "1"}.items():
        monkeypatch.setenv(variable, value)
    policy, asr = make_policy(family, tmp_path), tmp_path / "token-asr"
    write_recordings(tmp_path / "data")
    arl("encode", "--shards", tmp_path / "data", "--policy", policy.path, "-o", tmp_path / "emb")
    heard = [Codes.of(sample).codes for sample in read_shard(tmp_path / "emb" / "000000.tar")]
    n_codes = policy.acoustic[1]
    assert n_codes == (6561 if family == "cosyvoice2" else 81) and all(0 <= max(codes) < n_codes for codes in heard)

    small = "--steps", 3, "--batch", 2, "--width", 16, "--layers", 1, "--held-out", 0.3
    joined = "--shards", tmp_path / "emb", "--shards", tmp_path / "data"
    arl("train-token-asr", *joined, "--codes", n_codes, *small, "-o", asr)
    assert token_asr.load(asr).n_codes == n_codes and read_record(asr)[0]["trained_on"] == 2
    assert read_record(asr)[0]["unspoken"] == 1

    write_rollouts(tmp_path, policy)
    shards = [str(tmp_path / name) for name in ("data", "emb", "rollout", "reward")]
    rows = {sample.key: sample.json(columns.REWARD) for sample in read_shard(tmp_path / "reward" / "000000.tar")}
    better = sum(advantage > 0 for key in READ for advantage in rows[key]["advantages"])
    versions = {policy.version}
    for loss, n in (("diffro", GROUP * len(READ)), ("combined", better)):
        trained = made(shards, policy, tmp_path / loss, loss=loss, token_asr=asr)
        record = read_record(trained.path)[0]
        assert record["diffro_share"] == pytest.approx(n / (GROUP * len(TEXTS)))
        assert record["diffro_reward"] < 0 and record["grad_norm"] > 0
        versions.add(trained.version)
    assert len(versions) == 3
