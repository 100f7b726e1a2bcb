"""Tokens to decode and the waves that come of them: what the tests of `arl decode` have in common."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard
from tests.tiny_tts import CODES

FAST: dict[str, Any] = {"threads": 1, "device": "cpu", "nfe": 2}
FIRST, STOP = 33, 2
LENGTHS = {"a": [5, 9, 5, 0], "b": [1, 30, 7], "c": [12], "d": []}  # codes per hypothesis


def hypothesis_of(codes: list[int]) -> dict[str, Any]:
    tokens = [*(FIRST + code for code in codes), STOP]
    return {"text": "", "tokens": tokens, "logprobs": [-1.0] * len(tokens), "finish": "stop"}


def groups_of(lengths: dict[str, list[int]], seed: int = 0) -> dict[str, list[list[int]]]:
    rng = np.random.default_rng(seed)
    return {key: [rng.integers(CODES, size=n).tolist() for n in row] for key, row in lengths.items()}


def write_columns(folder: Path, groups: dict[str, list[list[int]]], shard: str = "000000") -> list[str]:
    """data/, emb/ and rollout/ of these groups; the last two's names, as decode takes them."""
    voices = dict(zip(groups, ["ann", "bob"] * len(groups), strict=False))
    texts = [(key, {columns.META: columns.dumps({"text": f"say {key}", "lang": "en"})}) for key in groups]
    prompts = [
        (key, {columns.PROMPT: columns.dumps({"input_ids": [1], "max_new_tokens": 99, "voice": voices[key]})})
        for key in groups
    ]
    rollouts = [
        (key, {columns.ROLLOUT: columns.dumps(
            {"policy": "000000-abc", "temperature": 1.0, "hyps": [hypothesis_of(codes) for codes in rows]}
        )})
        for key, rows in groups.items()
    ]  # fmt: skip
    for name, rows in (("data", texts), ("emb", prompts), ("rollout", rollouts)):
        write_shard(folder / name / f"{shard}.tar", rows)
    return [str(folder / "emb"), str(folder / "rollout")]


def waves(folder: Path, shard: str = "000000") -> dict[str, list[np.ndarray]]:
    """By key the waves of the group, float [n]."""
    found: dict[str, list[np.ndarray]] = {}
    for sample in read_shard(folder / f"{shard}.tar"):
        rows = []
        for name, data in sample.members.items():
            if name.endswith(".flac"):
                assert name == f"{len(rows):02d}.flac"
                info = soundfile.info(io.BytesIO(data))
                assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
                rows.append(soundfile.read(io.BytesIO(data))[0])
        found[sample.key] = rows
    return found


def difference(one: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> float:
    assert {key: len(rows) for key, rows in one.items()} == {key: len(rows) for key, rows in other.items()}
    pairs = [pair for key in one for pair in zip(one[key], other[key], strict=True)]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
