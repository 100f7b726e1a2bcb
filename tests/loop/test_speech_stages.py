"""Synthesis through every stage, each as a person types it, with the real engine and a tiny policy."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from arl.engine import server
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined
from arl.shards.record import read_record
from arl.train.data import rl_batch
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.docs.pages import shown_program
from tests.tiny_tts import make_tiny_tts_policy

pytestmark = pytest.mark.engine

TEXTS = ["one two", "press the number", "good morning to you", "again"]
GROUP = 4


def arl(folder: Path, *words: str) -> None:
    environment = {**os.environ, "ARL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("ARL_ENGINE", None)
    command = [str(Path(sys.executable).with_name("arl")), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_from_texts_to_the_next_policy(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "steady.py").write_text(shown_program("steady"))
    policy = Policy.open(make_tiny_tts_policy(tmp_path / "policy"))
    try:
        arl(tmp_path, "data", "--texts", "texts.txt", "-o", "texts")
        arl(tmp_path, "encode", "--shards", "texts", "--policy", "policy", "-o", "emb")
        arl(tmp_path, "rollout", "--shards", "emb", "--group", str(GROUP))
        arl(tmp_path, "decode", "--shards", "emb", "--shards", "rollout", "--policy", "policy", "--nfe", "2")
        arl(tmp_path, "reward", "--shards", "rollout", "--shards", "wav", "--with", "duration", "--with", "./steady.py")
        update = ["update", "--shards", "emb", "--shards", "rollout", "--shards", "reward", "--policy", "policy"]
        arl(tmp_path, *update, "--lr", "1e-2", "-o", "next")
        arl(tmp_path, "sync", "--policy", "next")
        arl(tmp_path, "rollout", "--shards", "emb", "--policy", "next", "--group", str(GROUP), "-o", "again")
    finally:
        server.stop(tmp_path / ".arl" / "engine")

    folders = [tmp_path / name / "000000.tar" for name in ("emb", "rollout", "wav", "reward")]
    samples = list(read_joined(folders))
    batch = rl_batch(samples, policy.version, allow_stale=False, correct=True, with_clips=False)
    model = load_llm(policy.llm_dir, torch.device("cpu"))
    with torch.no_grad():
        ours = shared_log_probs(model, batch.groups, policy.audio_token_id).log_probs
    engines = torch.cat([row for group in batch.groups for row in group.sampled])
    assert float((ours - engines).abs().mean()) <= 1e-3  # the same prompt and stop rules in the engine and the trainer

    for sample in samples:
        longest = sample.json(columns.PROMPT)["max_new_tokens"]
        hyps = sample.json(columns.ROLLOUT)["hyps"]
        assert len(hyps) == GROUP
        for index, hyp in enumerate(hyps):
            stopped = hyp["tokens"][-1] == policy.eos_token_id
            assert stopped == (hyp["finish"] == "stop") and (stopped or len(hyp["tokens"]) == min(256, longest))
            assert policy.eos_token_id not in hyp["tokens"][:-1]
            wave, rate = soundfile.read(io.BytesIO(sample.members[f"{index:02d}.flac"]))
            first, n_codes = policy.acoustic
            spoken = sum(first <= token < first + n_codes for token in hyp["tokens"])
            assert rate == 16000 and len(wave) == 640 * max(1, spoken)
        assert set(sample.json(columns.REWARD)["components"]) == {"duration", "steady"}
    assert read_record(tmp_path / "wav")[0]["audio_s"] > 0
    assert Policy.open(tmp_path / "next").version != policy.version
    assert Policy.open(tmp_path / "next").is_tts  # and the next rollout was made by it
