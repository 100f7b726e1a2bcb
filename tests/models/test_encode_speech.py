"""`arl encode` with a synthesis policy: prompts of texts, codes of recordings, and training on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arl.audio.io import encode_flac
from arl.cli.encode import encode
from arl.errors import ArlError
from arl.models.qwen2_flow import codec, prompts, vocabulary
from arl.models.qwen2_flow.mel import log_mel
from arl.policy import Policy
from arl.shards import columns
from arl.shards.checks import shard_problems
from arl.shards.reader import Sample, read_shard
from arl.shards.writer import write_shard
from arl.train.data import speech_batch
from tests.tiny_tts import CODES, make_tiny_tts_policy

FAST: dict[str, Any] = {"threads": 1, "device": "cpu"}
RATE = 16000


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_tts_policy(tmp_path_factory.mktemp("policy") / "policy"))


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def encoded(
    folder: Path, policy: Policy, rows: list[tuple[str, dict[str, Any], bytes | None]], **more: Any
) -> list[Sample]:
    """The shard that `arl encode` makes of (key, .json, flac) rows."""
    members = [
        (key, {columns.META: columns.dumps(meta)} | ({"flac": audio} if audio is not None else {}))
        for key, meta, audio in rows
    ]
    write_shard(folder / "texts" / "000000.tar", members)
    encode([str(folder / "texts")], policy=policy.path, out=folder / "emb", **FAST, **more)
    assert list(shard_problems([folder / "emb" / "000000.tar"])) == []
    return list(read_shard(folder / "emb" / "000000.tar"))


def test_texts_become_prompts_of_the_voice_that_is_asked_for(policy, tmp_path):
    rows = [
        ("a", {"text": "Press one.", "lang": "en", "speaker": "bob"}, None),
        ("b", {"text": "hello", "lang": "en"}, None),
    ]
    first, second = encoded(tmp_path, policy, rows)
    voices = prompts.load_voices(policy.frontend_dir)
    assert first.json(columns.PROMPT) == {
        "input_ids": prompts.prompt_of("press one", voices["bob"]), "voice": "bob", "max_new_tokens": 9 * 5 + 1,
    }  # fmt: skip
    assert second.json(columns.PROMPT)["voice"] == "ann"  # the policy's first
    assert set(first.members) == {columns.PROMPT}


def test_recordings_become_codes_whatever_the_batch(policy, tmp_path):
    waves = {f"u{k}": wave(seconds, k) for k, seconds in enumerate((0.3, 1.7, 0.31, 0.04))}
    rows = [(key, {"text": "one", "lang": "en", "duration_s": 1.0}, encode_flac(clip)) for key, clip in waves.items()]
    samples = encoded(tmp_path, policy, rows)
    tokenizer = codec.load(policy.frontend_dir)
    for sample in samples:
        fields = sample.json(columns.CODES)
        alone = tokenizer.encode([log_mel(torch.from_numpy(waves[sample.key]))])[0]
        assert fields["rate_hz"] == 25 and len(fields["codes"]) == -(-len(waves[sample.key]) // 640)
        assert np.mean(np.array(fields["codes"]) == alone.numpy()) > 0.95  # FLAC has 16 bits
        assert max(fields["codes"]) < CODES


def test_a_text_that_cannot_be_spoken_keeps_its_row_and_counts_as_failed(policy, tmp_path, capsys):
    rows = [("a", {"text": "press 1", "lang": "en"}, None), ("b", {"text": "go", "lang": "en"}, None)]
    with pytest.raises(ArlError, match="spell it out"):
        encoded(tmp_path / "strict", policy, rows)
    assert not (tmp_path / "strict" / "emb" / "000000.tar").exists()
    failed, good = encoded(tmp_path, policy, rows, max_failed=1)
    assert failed.json(columns.PROMPT)["input_ids"] == [] and "spell it out" in failed.json(columns.PROMPT)["error"]
    assert good.json(columns.PROMPT)["input_ids"]


def test_a_broken_recording_leaves_its_text_without_codes(policy, tmp_path):
    rows = [
        ("a", {"text": "one", "lang": "en", "duration_s": 1.0}, b"fLaC no more"),
        ("b", {"text": "two", "lang": "en", "duration_s": 1.0}, encode_flac(wave(0.5))),
    ]
    broken, good = encoded(tmp_path, policy, rows, max_failed=1)
    assert columns.CODES not in broken.members and broken.json(columns.PROMPT)["input_ids"]
    assert columns.CODES in good.members


def test_supervised_training_reads_the_codes_as_tokens_with_a_stop(policy, tmp_path):
    rows = [
        ("a", {"text": "one", "lang": "en", "duration_s": 0.2}, encode_flac(wave(0.2))),
        ("b", {"text": "two", "lang": "en"}, None),
    ]
    samples = encoded(tmp_path, policy, rows)
    batch = speech_batch(samples, policy.acoustic, policy.eos_token_id)
    (group,) = batch.groups  # the text alone is no example
    codes = samples[0].json(columns.CODES)["codes"]
    assert group.responses[0].tolist() == [vocabulary.ACOUSTIC_FIRST + code for code in codes] + [vocabulary.STOP]
    with pytest.raises(ArlError, match="no sample of the batch has a recording"):
        speech_batch(samples[1:], policy.acoustic, policy.eos_token_id)


def test_a_slim_policy_speaks_the_same_codes(policy, tmp_path):
    from arl.models.qwen2_flow import build

    slim = build.export_slim(policy, tmp_path / "slim", "float16")
    whole = build.restore(slim, tmp_path / "whole")
    mel = log_mel(torch.from_numpy(wave(1.0)))
    before, after = (codec.load(p.frontend_dir).encode([mel])[0] for p in (policy, whole))
    assert float((before == after).float().mean()) > 0.9
    assert whole.is_tts and whole.acoustic == policy.acoustic
    assert list(prompts.load_voices(whole.frontend_dir)) == ["ann", "bob"]
