"""`arl mine` in a place that has something for each of the four sets: what its tests have in common."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from arl.cli.mine import mine
from arl.shards.paths import expand
from arl.shards.reader import Sample, read_shard
from tests.data.mining.clips import audio_shards, rollouts

app = typer.Typer()
app.command()(mine)
EASY = {f"easy{n}": f"please press the button {c}" for n, c in enumerate("bcdefghj")}
HARD = {f"hard{n}": f"some muttered words {c}" for n, c in enumerate("kmnp")}
LOOP = {"loop": "thank you"}
WORDS = {"word0": "call digium now", "word1": "asterisk now"}
LONG = {"long": "a long story"}
TEXTS = EASY | HARD | LOOP | WORDS | LONG


def run(*arguments: object, fails: type[Exception] | None = None) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if fails is None:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert isinstance(result.exception, fails), (result.output, result.exception)
    return result


def samples(folder: Path) -> list[Sample]:
    return [sample for shard in expand([folder]) for sample in read_shard(shard)]


def members(shard: Path) -> list[tuple[str, dict[str, bytes]]]:
    return [(sample.key, sample.members) for sample in read_shard(shard)]


def keys(folder: Path) -> set[str]:
    return {sample.key for sample in samples(folder)}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the stage's records, which hold times."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith("stage.jsonl")}


def made_place(folder: Path) -> Path:
    """data/train, data/test, rollout/ of one system and other.tsv of another one."""
    metas = {key: {"text": text, "duration_s": 1.2 if key == "long" else 0.3, "speaker": "ann"}
             for key, text in TEXTS.items()}  # fmt: skip
    train = audio_shards(folder / "data" / "train", metas)
    audio_shards(folder / "data" / "test", {"t0": {"text": "nothing alike"}}, first_seed=900)
    heard = {key: [text] for key, text in TEXTS.items()}
    heard |= {"loop": ["thank you " * 9]} | {key: ["sum buttered worlds", text] for key, text in HARD.items()}
    rollouts(folder / "data" / "rollout", train, heard)
    (folder / "other.tsv").write_text(
        "".join(f"{key}\t{text}\n" for key, text in (TEXTS | {"loop": "thank you"}).items())
    )
    (folder / "list").write_text("Digium\nAsterisk\n")
    return folder


def flags(place: Path) -> list[object]:
    return [
        "--shards", place / "data" / "train", "--against", place / "data" / "test", "-o", place / "sets",
        "--system", f"base={place / 'data' / 'rollout'}", "--system", f"other={place / 'other.tsv'}",
        "--keywords", place / "list", "--longer-s", 1, "--join-up-to-s", 2,
    ]  # fmt: skip


def manifest(place: Path) -> dict[str, dict]:
    lines = (place / "sets" / "manifest.jsonl").read_text().splitlines()
    return {line["key"]: line for line in map(json.loads, lines)}
