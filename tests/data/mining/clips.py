"""Small audio shards of noise, the embeddings and rollouts that stages would make of them, and candidates."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from arl.audio.io import encode_flac
from arl.data.mining.pool import Candidate
from arl.shards.columns import dumps
from arl.shards.rows import Meta
from arl.shards.writer import write_shard


def clip(seed: int, seconds: float = 0.1) -> bytes:
    """FLAC noise, another one for every seed."""
    return encode_flac(np.random.default_rng(seed).uniform(-0.1, 0.1, round(16000 * seconds)))


def audio_shards(folder: Path, metas: Mapping[str, dict], batch: int = 4, first_seed: int = 0) -> Path:
    """metas: key to what its `.json` has beside the defaults; `clip` in it is the seed of its noise."""
    rows = []
    for number, (key, fields) in enumerate(metas.items()):
        meta = {"text": key, "lang": "en", "duration_s": 0.1, **fields}
        seed = meta.pop("clip", first_seed + number)
        rows.append((key, {"flac": clip(seed, meta["duration_s"]), "json": dumps(meta)}))
    for start in range(0, len(rows), batch):
        write_shard(folder / f"{start // batch:06d}.tar", rows[start : start + batch])
    return folder


def keys_by_shard(folder: Path) -> dict[str, list[str]]:
    from arl.shards.reader import scan_shard

    return {path.name: [s.key for s in scan_shard(path, lambda _: False)] for path in sorted(folder.glob("*.tar"))}


def column(folder: Path, of: Path, member, record: dict | None = None) -> Path:
    """A later stage's shards of the same rows: member(key) is its sample; the record leads back to `of`."""
    for name, keys in keys_by_shard(of).items():
        write_shard(folder / name, ((key, member(key)) for key in keys))
        line = {"stage": "x", "shard": name.removesuffix(".tar"), "sources": [f"../{of.name}"], **(record or {})}
        with (folder / "stage.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
    return folder


def rollouts(folder: Path, of: Path, texts: Mapping[str, Sequence[str]]) -> Path:
    def member(key: str) -> dict[str, bytes]:
        hyps = [{"text": text, "tokens": [1], "logprobs": [-0.5], "finish": "stop"} for text in texts[key]]
        return {"rollout.json": dumps({"policy": "000000-abc", "temperature": 1.0, "hyps": hyps})}

    return column(folder, of, member)


def candidate(key: str, text: str = "", lang: str = "en", duration_s: float = 2.0, **meta) -> Candidate:
    """One without audio, for the rules that look at its text."""
    return Candidate(key, Meta(text or key, lang, duration_s, **meta), key, Path("x.tar"), {})
