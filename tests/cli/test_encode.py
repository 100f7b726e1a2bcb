"""`arl encode` with a random Whisper frontend: batches, windows, bad clips, and what it skips."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors

from arl.audio.clips import length_batches
from arl.audio.io import encode_flac
from arl.cli.encode import encode
from arl.engine.client import Metrics
from arl.engine.generate import audio_seconds, generate
from arl.engine.queue import Queue
from arl.errors import ArlError, UsageError
from arl.policy import Policy, link_tree
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample, read_joined, read_shard
from arl.shards.record import read_record
from arl.shards.rows import failed_to_encode
from arl.shards.writer import write_shard
from tests.tiny_asr import make_tiny_asr_policy

RATE = 16000
FAST: dict[str, Any] = {"threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_asr_policy(tmp_path_factory.mktemp("policy") / "policy"))


@pytest.fixture(scope="module")
def whisper() -> ModuleType:
    from arl.models.whisper_qwen2 import frontend

    return frontend


@pytest.fixture(scope="module")
def frontend(whisper: ModuleType, policy: Policy) -> Any:
    return whisper.load(policy.frontend_dir)


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def write_audio(folder: Path, clips: dict[str, bytes], shard: str = "000000") -> str:
    meta = columns.dumps({"text": "one", "lang": "en"})
    write_shard(
        folder / "data" / f"{shard}.tar", [(key, {"flac": clip, columns.META: meta}) for key, clip in clips.items()]
    )
    return str(folder / "data")


def embeddings(folder: Path, shard: str = "000000") -> dict[str, Any]:
    """By key the [T, H] tensor, or None."""
    samples = read_shard(folder / f"{shard}.tar")
    return {s.key: load_tensors(s.members[columns.EMB])["emb"] if columns.EMB in s.members else None for s in samples}


# ---- the frontend -------------------------------------------------------------------------------------------------


def test_a_batch_gives_what_its_clips_give_alone(frontend):
    waves = [wave(seconds, seed) for seed, seconds in enumerate((0.3, 1.7, 0.31, 3.0, 0.05))]
    together = frontend.features(waves)
    projected = frontend.project(together)
    for clip, features, embedded in zip(waves, together, projected, strict=True):
        (alone,) = frontend.features([clip])
        assert features.shape == alone.shape
        assert float((features - alone).abs().max()) < 1e-5
        (alone,) = frontend.project([alone])
        assert embedded.shape == alone.shape and float((embedded - alone).abs().max()) < 1e-5


def test_rates(frontend):
    (features,) = frontend.features([wave(2.0)])
    (embedded,) = frontend.project([features])
    assert frontend.feature_rate_hz == 50 and frontend.embedding_rate_hz == 25
    assert features.shape == (105, 32)  # 0.1 s of silence behind the clip
    assert embedded.shape == (105 // 2, 64)


def test_clips_beyond_the_window_are_computed_in_windows(whisper, frontend):
    window_s = (200 - 10) * whisper.FRAME / RATE
    clip = wave(2 * window_s + 0.7)
    (features,) = frontend.features([clip])
    size = round(window_s * RATE)
    parts = [frontend.features([clip[start : start + size]])[0] for start in range(0, len(clip), size)]
    assert len(parts) == 3
    torch.testing.assert_close(features, torch.cat(parts), rtol=0, atol=1e-5)
    both = frontend.features([wave(0.4, 1), clip])
    torch.testing.assert_close(both[1], features, rtol=0, atol=1e-5)


def test_the_frontend_is_frozen_and_its_folder_whole(whisper, frontend, policy, tmp_path):
    assert not any(parameter.requires_grad for parameter in frontend.parameters())
    whisper.save(frontend, tmp_path / "copy")
    again = whisper.load(tmp_path / "copy")
    clip = [wave(0.5)]
    assert torch.equal(again.project(again.features(clip))[0], frontend.project(frontend.features(clip))[0])
    (tmp_path / "copy" / "tower.safetensors").unlink()
    with pytest.raises(ArlError, match="tower.safetensors: missing"):
        whisper.load(tmp_path / "copy")
    with pytest.raises(ArlError, match="not a whisper-qwen2 frontend"):
        whisper.load(tmp_path)


# ---- batches by length --------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 60), max_size=40), st.floats(0.1, 200))
def test_length_batches(lengths, batch_s):
    seconds = {f"utt-{i}": length for i, length in enumerate(lengths)}
    batches = list(length_batches(seconds, batch_s))
    assert sorted(key for batch in batches for key in batch) == sorted(seconds)  # every clip once
    for batch in batches:
        assert len(batch) == 1 or max(seconds[key] for key in batch) * len(batch) <= batch_s
    in_order = [seconds[key] for batch in batches for key in batch]
    assert in_order == sorted(in_order)  # similar lengths together


# ---- the command --------------------------------------------------------------------------------------------------


def test_columns_and_record(policy, frontend, tmp_path):
    clips = {f"utt-{i}": wave(0.3 + 0.2 * i, i) for i in range(4)}
    data = write_audio(tmp_path, {key: encode_flac(clip) for key, clip in clips.items()})
    encode(shards=[data], policy=policy.path, batch_s=1.0, **FAST)  # out: beside the data
    found = embeddings(tmp_path / "emb")
    assert list(found) == list(clips)
    for key, clip in clips.items():
        (alone,) = frontend.project(frontend.features([clip]))
        assert found[key].dtype == torch.float32
        torch.testing.assert_close(found[key], alone, rtol=0, atol=1e-3)  # FLAC has 16 bits
    for sample in read_joined([tmp_path / "emb" / "000000.tar", tmp_path / "data" / "000000.tar"]):
        assert sample.json(columns.PROMPT) == {"input_ids": policy.prompt}
    record = read_record(tmp_path / "emb")[0]
    assert record["samples"] == 4 and record["audio_s"] == pytest.approx(sum(map(len, clips.values())) / RATE, abs=1e-3)
    assert record["arguments"]["frontend"] == policy.frontend_id


def test_features_stop_before_the_projector(policy, tmp_path):
    data = write_audio(tmp_path, {"utt": encode_flac(wave(0.5))})
    encode(shards=[data], policy=policy.path, features=True, **FAST)
    (sample,) = read_shard(tmp_path / "feat" / "000000.tar")
    assert load_tensors(sample.members[columns.FEAT])["feat"].shape == (30, 32)
    assert set(sample.members) == {columns.FEAT, columns.PROMPT}


def test_a_dataset_is_encoded_once_per_frontend(policy, tmp_path, capsys):
    data = write_audio(tmp_path, {"utt": encode_flac(wave(0.3))})

    def encoded_with(folder: Path) -> int:
        encode(shards=[data], policy=folder, out=tmp_path / "emb", **FAST)
        return (tmp_path / "emb" / "000000.tar").stat().st_mtime_ns

    first = encoded_with(policy.path)
    trained = tmp_path / "trained"  # another version of the LLM over the same frontend
    link_tree(policy.frontend_dir, trained / "frontend")
    marker = (policy.path / "arl.json").read_text()
    (trained / "arl.json").write_text(marker.replace(policy.version, "000009-000000000000"))
    assert encoded_with(trained) == first
    assert "already done" in capsys.readouterr().err
    (trained / "arl.json").write_text(marker.replace(policy.frontend_id, "another"))
    assert encoded_with(trained) > first


def test_a_policy_is_needed(tmp_path):
    with pytest.raises(UsageError, match="needs --policy"):
        encode(shards=[str(tmp_path)])


# ---- utterances that cannot be read -------------------------------------------------------------------------------


@pytest.fixture
def with_bad_clips(tmp_path: Path) -> str:
    """Of four clips the first is no audio and the third has no samples."""
    good = [encode_flac(wave(0.3, seed)) for seed in range(2)]
    return write_audio(tmp_path, {"a": b"no audio", "b": good[0], "c": encode_flac(wave(0.0)), "d": good[1]})


def test_bad_clips_fail_the_stage(policy, with_bad_clips, tmp_path):
    with pytest.raises(ArlError, match=r"000000.tar: sample 'a': .*--max-failed 0"):
        encode(shards=[with_bad_clips], policy=policy.path, **FAST)
    with pytest.raises(ArlError, match=r"000000.tar: sample 'c': audio: not an audio file.*--max-failed 1"):
        encode(shards=[with_bad_clips], policy=policy.path, max_failed=1, **FAST)
    assert [path.name for path in (tmp_path / "emb").iterdir()] == []


def test_tolerated_bad_clips_keep_their_rows(policy, with_bad_clips, tmp_path, capsys):
    encode(shards=[with_bad_clips], policy=policy.path, max_failed=2, **FAST)
    found = embeddings(tmp_path / "emb")
    assert [key for key, clip in found.items() if clip is None] == ["a", "c"]
    assert capsys.readouterr().err.count("arl: skipped: ") == 2
    rows = list(read_joined([tmp_path / "data" / "000000.tar", tmp_path / "emb" / "000000.tar"]))
    assert [failed_to_encode(row) for row in rows] == [True, False, True, False]
    bad = rows[2].json(columns.PROMPT)
    assert bad["input_ids"] == [] and "not an audio file" in bad["error"] and str(tmp_path) not in bad["error"]
    assert read_record(tmp_path / "emb")[0]["samples"] == 4


def test_a_shard_without_audio_is_named(policy, tmp_path):
    write_shard(tmp_path / "data" / "000000.tar", [("utt", {"json": b"{}"})])
    with pytest.raises(ArlError, match=r"sample 'utt': no audio member \(.wav, .flac or .mp3\)"):
        encode(shards=[str(tmp_path / "data")], policy=policy.path, **FAST)


class FakeEngine:
    """Answers each prompt with the number of its clips; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self._metrics = Metrics()

    def metrics(self) -> Metrics:
        return self._metrics

    async def __aenter__(self) -> "FakeEngine":
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def queue(self) -> Queue:
        return Queue()

    async def generate_group(self, prompt: list[int], audio: list[dict[str, Any]], **rest: Any) -> int:
        self.asked.append({"prompt": prompt, "audio": audio, **rest})
        return len(audio)


class NoBar:
    def advance(self, n: float = 1, status: str = "") -> None:
        """Nothing is drawn."""


def test_rollout_asks_nothing_for_a_bad_clip_and_does_not_count_it_again(policy, with_bad_clips, tmp_path):
    encode(shards=[with_bad_clips], policy=policy.path, max_failed=2, **FAST)
    samples = list(read_shard(tmp_path / "emb" / "000000.tar"))
    engine, budget = FakeEngine(), FailureBudget(0)
    sampling = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 4}
    groups = generate(engine, policy, samples, 3, sampling, 0, budget, NoBar())  # type: ignore[arg-type]
    assert groups == [None, 1, None, 1]
    assert [request["prompt"] for request in engine.asked] == [policy.prompt] * 2
    assert all(len(set(request["seeds"])) == 3 for request in engine.asked)
    assert budget.count == 0
    assert audio_seconds(samples, policy) == pytest.approx(2 * 0.4, abs=0.05)


def test_missing_embeddings_that_did_not_fail_are_an_error(policy):
    prompt = Sample("utt", {columns.PROMPT: columns.dumps({"input_ids": policy.prompt})}, {})
    assert not failed_to_encode(prompt)
    sampling = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 4}
    with pytest.raises(ArlError, match="no member 'emb.safetensors'.*join the folder that holds it"):
        generate(FakeEngine(), policy, [prompt], 3, sampling, 0, FailureBudget(9), NoBar())  # type: ignore[arg-type]
