"""Rollouts to score, with `arl reward` as a function: what the tests of its stage have in common."""

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from arl.cli.reward import reward
from arl.shards.columns import dumps
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard

app = typer.Typer()
app.command()(reward)

TEXTS = {"a": "the cat sat", "b": "", "c": "one dog"}
GROUPS = {
    "a": ["the cat sat", "the hat sat", "", "the cat sat"],
    "b": ["", "", "", ""],
    "c": ["one dog", "one", "one dog ran off", "dog"],
}


def invoke(*words: object) -> str:
    """Runs the command; returns stdout. ArlErrors come through."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def rollouts_with_references(folder: Path) -> Path:
    """data/train and run/rollout (2 shards, returned), whose record leads to the audio shards."""
    audio, rollout = folder / "data" / "train", folder / "run" / "rollout"
    audio.mkdir(parents=True)
    rollout.mkdir(parents=True)
    with (rollout / "stage.jsonl").open("w") as record:
        for name in ("000000", "000001"):
            keys = [f"{key}{name[-1]}" for key in TEXTS]
            metas = ((key, {"json": dumps({"text": TEXTS[key[0]], "lang": "en", "duration_s": 1.5})}) for key in keys)
            write_shard(audio / f"{name}.tar", metas)
            write_shard(rollout / f"{name}.tar", ((key, rollout_member(GROUPS[key[0]])) for key in keys))
            record.write(json.dumps({"shard": name, "sources": ["../../data/train"]}) + "\n")
    return rollout


def rollout_member(texts: list[str]) -> dict[str, bytes]:
    hyps = [hypothesis(text) for text in texts]
    return {"rollout.json": dumps({"policy": "000000-abc", "temperature": 1.0, "hyps": hyps})}


def hypothesis(text: str) -> dict[str, Any]:
    tokens = list(range(len(text.split()) + 1))
    return {"text": text, "tokens": tokens, "logprobs": [-0.5] * len(tokens), "finish": "stop"}


def rewards_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {s.key: s.json("reward.json") for path in sorted(folder.glob("*.tar")) for s in read_shard(path)}
