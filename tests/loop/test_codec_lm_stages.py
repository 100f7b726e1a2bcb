"""A plain LM of codes and its codec through every stage with the real engine: Llasa with X-Codec 2, tiny and random."""

from pathlib import Path

import pytest
import torch

from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined
from arl.train.data import rl_batch
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.docs.pages import shown_program
from tests.in_process import arl
from tests.models.codec_checkpoints import make_llasa, make_xcodec2

pytestmark = pytest.mark.engine

GROUP, LONGEST = 3, 12


def test_from_an_lm_to_a_trained_one(tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1", "ARL_QUIET": "1"}.items():
        monkeypatch.setenv(variable, value)
    at, start, trained = tmp_path, tmp_path / "policy", tmp_path / "next"
    (at / "texts.txt").write_text("one two\nthe hen goes home\nhello\n")
    (at / "steady.py").write_text(shown_program("steady"))
    emb, rollout, wav, reward = (("--shards", at / name) for name in ("emb", "rollout", "wav", "reward"))
    arl("init", "--from", make_llasa(at / "llasa"), "--codec", make_xcodec2(at / "xcodec2"), "-o", start)
    arl("data", "--texts", at / "texts.txt", "-o", at / "texts")
    arl("encode", "--shards", at / "texts", "--policy", start, "-o", at / "emb")
    arl("sync", "--policy", start, "--engine", engine)
    arl("rollout", *emb, "--group", GROUP, "--max-new-tokens", LONGEST, "--engine", engine, "-o", at / "rollout")
    arl("decode", *emb, *rollout, "--policy", start, "-o", at / "wav")
    arl("reward", *rollout, *wav, "--with", "duration", "--with", at / "steady.py", "-o", at / "reward")
    arl("update", *emb, *rollout, *reward, "--policy", start, "--lr", "1e-2", "-o", trained)
    arl("sync", "--policy", trained, "--engine", engine)
    arl("export", "--policy", trained, "-o", at / "back")

    policy = Policy.open(start)
    samples = list(read_joined([at / name / "000000.tar" for name in ("emb", "rollout", "wav", "reward")]))
    batch = rl_batch(samples, policy.version, allow_stale=False, correct=True, with_clips=False)
    with torch.no_grad():
        model = load_llm(policy.llm_dir, torch.device("cpu"))
        ours = shared_log_probs(model, batch.groups, policy.audio_token_id).log_probs
    engines = torch.cat([row for group in batch.groups for row in group.sampled])
    assert float((ours - engines).abs().max()) <= 1e-3
    assert {hyp["text"] for sample in samples for hyp in sample.json(columns.ROLLOUT)["hyps"]} == {""}
    changed, before = (load_llm(folder, torch.device("cpu")).state_dict() for folder in (at / "back", at / "llasa"))
    assert changed.keys() == before.keys() and any(not changed[name].equal(before[name]) for name in before)
