"""Qwen3-TTS through the stages with the real engine, from the folder as it is downloaded to a trained one.

Tiny and random. The engine samples a frame's other codes by the frozen predictor, the shard keeps them, and the trainer
computes the same log-probabilities with them, and the same codes from the same seeds.
"""

import io
import json
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from arl.engine.generate import hypothesis_seeds
from arl.engine.predictor import CodePredictor
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined, read_shard
from arl.shards.rows import Rollout
from arl.train.data import rl_batch
from arl.train.groups import PromptGroup, embed_prompt
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from arl.train.steps import history_of
from tests.docs.pages import shown_program
from tests.in_process import arl
from tests.models.qwen3_tts_checkpoints import CODES, LEVELS, SAMPLES, make_qwen3_tts

pytestmark = pytest.mark.engine

TEXTS = ["the hen", "he", "they go there", "hello"]
GROUP, LONGEST = 3, 12


def one_step(at: Path, engine: Path) -> None:
    """policy, texts, emb, rollout, reward, next and back, in `at`; a greedy rollout of each policy."""
    (at / "texts.txt").write_text("\n".join(TEXTS))
    emb, rollout, wav, reward = (("--shards", at / name) for name in ("emb", "rollout", "wav", "reward"))
    to_engine = ("--engine", engine)
    arl("init", "--from", at / "Qwen3-TTS", "--language", "en", "-o", at / "policy")
    arl("data", "--texts", at / "texts.txt", "-o", at / "texts")
    arl("encode", "--shards", at / "texts", "--policy", at / "policy", "--voice", "eric", "-o", at / "emb")
    arl("sync", "--policy", at / "policy", *to_engine)
    arl("rollout", *emb, "--group", GROUP, "--max-new-tokens", LONGEST, *to_engine, "-o", at / "rollout")
    for name in ("greedy", "again"):
        arl("rollout", *emb, "--temperature", 0, "--max-new-tokens", LONGEST, *to_engine, "-o", at / name)
    arl("decode", *emb, *rollout, "--policy", at / "policy", "-o", at / "wav")
    (at / "steady.py").write_text(shown_program("steady"))
    arl("reward", *rollout, *wav, "--with", "duration", "--with", at / "steady.py", "-o", at / "reward")
    arl("update", *emb, *rollout, *reward, "--policy", at / "policy", "--lr", "1e-2", "-o", at / "next")
    arl("sync", "--policy", at / "next", *to_engine)
    arl("export", "--policy", at / "next", "-o", at / "back")


@torch.no_grad()
def sampled_again(policy: Policy, group: PromptGroup, seeds: list[int]) -> list[torch.Tensor]:
    """The other codes of a group's frames, by the predictor from the trainer's hidden states: [R_i - 1, L] each."""
    model = load_llm(policy.llm_dir, torch.device("cpu"))
    assert policy.predictor_dir is not None
    predictor, weights = CodePredictor.open(policy.predictor_dir)
    predictor.load_state_dict(weights)
    embedding, found = model.get_input_embeddings(), []
    prompt = embed_prompt(embedding, group, policy.audio_token_id)
    for index, (response, seed) in enumerate(zip(group.responses, seeds, strict=True)):
        first = embedding(response[:-1])
        row = torch.cat([prompt, first + group.frames(index)])[None]
        states = model.get_decoder()(inputs_embeds=row).last_hidden_state[0]
        at = len(prompt) + torch.arange(len(first))  # of each code; the state before it is what it was sampled from
        found.append(predictor.sample(states[at - 1], first, torch.full_like(at, seed), at))
    return found


def test_from_the_folder_to_a_trained_one(tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1", "ARL_QUIET": "1"}.items():
        monkeypatch.setenv(variable, value)
    make_qwen3_tts(tmp_path / "Qwen3-TTS")
    one_step(tmp_path, engine)
    policy, trained = Policy.open(tmp_path / "policy"), Policy.open(tmp_path / "next")
    assert trained.step == 1 and trained.version != policy.version

    samples = list(read_joined([tmp_path / name / "000000.tar" for name in ("emb", "rollout", "wav", "reward")]))
    batch = rl_batch(samples, policy.version, allow_stale=False, correct=True, history=history_of(policy))
    with torch.no_grad():
        model = load_llm(policy.llm_dir, torch.device("cpu"))
        ours = shared_log_probs(model, batch.groups, policy.audio_token_id).log_probs
    engines = torch.cat([row for group in batch.groups for row in group.sampled])
    assert float((ours - engines).abs().max()) <= 1e-3

    for group in batch.groups:
        again = sampled_again(policy, group, hypothesis_seeds(0, group.key, GROUP))
        assert all(a.equal(b) for a, b in zip(again, group.residual, strict=True))
    hyps = [hyp for sample in samples for hyp in sample.json(columns.ROLLOUT)["hyps"]]
    assert {hyp["finish"] for hyp in hyps} == {"stop", "length"} and {hyp["text"] for hyp in hyps} == {""}
    assert all(token < CODES for hyp in hyps for token in hyp["tokens"][:-1])
    assert {len(frame) for hyp in hyps for frame in hyp["residual"]} == {LEVELS}
    greedy, again = (read_shard(tmp_path / name / "000000.tar") for name in ("greedy", "again"))
    for a, b in zip(greedy, again, strict=True):
        first, second = Rollout.of(a).hyps[0], Rollout.of(b).hyps[0]
        assert (first.tokens, first.residual) == (second.tokens, second.residual)
    for sample in samples:
        for number, hyp in enumerate(sample.json(columns.ROLLOUT)["hyps"]):
            frames = soundfile.info(io.BytesIO(sample.members[f"{number:02d}.flac"])).frames
            assert frames == SAMPLES * max(1, len(hyp["tokens"]) - 1)

    was, now = (load_file(tmp_path / name / "model.safetensors") for name in ("Qwen3-TTS", "back"))
    changed = {name for name in was if not was[name].equal(now[name])}
    assert {"talker.codec_head.weight", "talker.model.layers.1.mlp.up_proj.weight"} <= changed
    assert not any("code_predictor" in name or "text" in name for name in changed)
    special = [row for row in range(CODES, CODES + 1024) if row != CODES + 2]
    assert all(was[name][special].equal(now[name][special]) for name in changed if len(was[name]) == CODES + 1024)
    assert json.loads((tmp_path / "back" / "config.json").read_text())["model_type"] == "qwen3_tts"
