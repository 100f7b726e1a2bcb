"""`arl data` as a person runs it: one path for every source, disjoint splits, all or nothing, skip when up to date."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from arl.cli.data import data
from arl.errors import ArlError, UsageError
from arl.shards.paths import expand
from arl.shards.reader import Sample, read_shard
from arl.shards.writer import ShardWriter

app = typer.Typer()
app.command()(data)


def run(*arguments: object, fails: type[Exception] | None = None) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--jobs", 1)])
    if fails is None:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert isinstance(result.exception, fails), (result.output, result.exception)
    return result


def clips(folder: Path, texts: list[str], seconds: float = 0.2) -> Path:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        soundfile.write(folder / f"u{number:03d}.wav", np.full(round(16000 * seconds), 0.1, np.float32), 16000)
        (folder / f"u{number:03d}.txt").write_text(text)
    return folder


def samples(*specs: Path) -> list[Sample]:
    return [sample for shard in expand(specs) for sample in read_shard(shard)]


def texts(*specs: Path) -> list[str]:
    return [sample.json("json")["text"] for sample in samples(*specs)]


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_folder_to_shards(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", [f"number {n}" for n in range(5)]), tmp_path / "out"
    summary = json.loads(run("--folder", source, "-o", out, "--batch", 2, "--lang", "de", "--json").stdout)
    assert [path.name for path in expand([out])] == ["000000.tar", "000001.tar", "000002.tar"]
    assert [sample.key for sample in samples(out)] == [f"u{n:03d}" for n in range(5)]
    first = samples(out)[0]
    assert first.members["wav"] == (source / "u000.wav").read_bytes()
    assert first.json("json") == {"text": "number 0", "lang": "de", "duration_s": 0.2}
    assert summary["splits"] == {"all": {"utterances": 5, "texts": 5, "seconds": 1.0, "shards": 3}}
    lines = [json.loads(line) for line in (out / "stage.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["samples"], line["audio_s"]) for line in lines] == [
        ("000000", 2, 0.4),
        ("000001", 2, 0.4),
        ("000002", 1, 0.2),
    ]


def test_split_shares_no_text(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", [f"Take {n % 20}!" for n in range(60)]), tmp_path / "out"
    run("--folder", source, "-o", out, "--split", "test=0.4,train=0.6", "--shuffle", "--seed", 3)
    test, train = texts(out / "test"), texts(out / "train")
    assert not set(test) & set(train) and len(test) == 24 and len(train) == 36
    told = json.loads((out / "splits.json").read_text())
    assert told["splits"]["test"] == {"utterances": 24, "texts": 8, "seconds": 4.8, "shards": 1}
    assert told["shared_texts"] == 0
    again = tmp_path / "again"
    run("--folder", source, "-o", again, "--split", "test=0.4,train=0.6", "--shuffle", "--seed", 3)
    assert texts(again / "train") == train != sorted(train)
    for name in ("test/000000.tar", "train/000001.tar"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_against_leaves_out_what_a_test_set_holds(tmp_path: Path) -> None:
    run("--folder", clips(tmp_path / "test", ["one", "two"]), "-o", tmp_path / "out" / "test")
    source = clips(tmp_path / "train", ["One.", "three", "TWO", "four"])
    result = run("--folder", source, "-o", tmp_path / "out" / "train", "--against", tmp_path / "out" / "test")
    assert texts(tmp_path / "out" / "train") == ["three", "four"]
    assert "left out: 2 in --against" in result.stderr


def test_concatenate_after_the_split_knows_its_sources(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", [f"take {n % 15}" for n in range(60)]), tmp_path / "out"
    soundfile.write(source / "u059.wav", np.zeros(16000, np.float32), 16000)
    shares = ("--split", "test=0.5,train=0.5")
    result = run("--folder", source, "-o", out, *shares, "--concatenate", "1-2", "--max-s", 0.5, "--shuffle")
    assert "too short or long, or without neighbours" in result.stderr
    parts = {
        name: [(key, text) for sample in samples(out / name) for key, text in zip(*sources(sample), strict=True)]
        for name in ("test", "train")
    }
    assert parts["test"] and parts["train"]
    assert not {text for _, text in parts["test"]} & {text for _, text in parts["train"]}
    assert all(f"take {int(key[1:]) % 15}" == text for part in parts.values() for key, text in part)
    assert all(1 <= sample.json("json")["duration_s"] <= 2 for sample in samples(out / "test", out / "train"))
    # a long test clip bans the texts of its parts, also from shards made of those shards
    run("--shards", out / "test", "-o", tmp_path / "copy")
    assert [sources(sample) for sample in samples(tmp_path / "copy")] == [sources(s) for s in samples(out / "test")]
    run("--folder", source, "-o", tmp_path / "short", "--against", tmp_path / "copy")
    assert not set(texts(tmp_path / "short")) & {text for _, text in parts["test"]}
    run("--folder", source, "-o", tmp_path / "never", "--concatenate", "2-1", fails=UsageError)


def sources(sample: Sample) -> tuple[list[str], list[str]]:
    meta = sample.json("json")
    return meta["concatenated"], meta["texts"]


def test_limits(tmp_path: Path) -> None:
    source = clips(tmp_path / "clips", ["a", "b"])
    soundfile.write(source / "u001.wav", np.zeros(32000, np.float32), 16000)
    run("--folder", source, "-o", tmp_path / "out", "--max-s", 1)
    assert texts(tmp_path / "out") == ["a"]
    run("--folder", source, "-o", tmp_path / "out", "--min-s", 1)
    assert texts(tmp_path / "out") == ["b"]
    run("--folder", source, "-o", tmp_path / "out2", "--min-s", 3, fails=ArlError)
    assert not (tmp_path / "out2").exists()


def test_bad_samples_fail_and_leave_nothing(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", ["a", "b", "", "d"]), tmp_path / "out"
    (source / "u001.wav").write_text("not audio")
    for allowed in (0, 1):
        run("--folder", source, "-o", out, "--max-failed", allowed, fails=ArlError)
        assert not out.exists()
    result = run("--folder", source, "-o", out, "--max-failed", 2)
    assert texts(out) == ["a", "d"]
    assert sum(line.startswith("arl: bad sample: ") for line in result.stderr.splitlines()) == 2
    before = state(out)
    run("--folder", source, "-o", out, fails=ArlError)  # two bad ones are too many now
    assert state(out) == before


def test_skips_what_is_up_to_date(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", ["a", "b"]), tmp_path / "out"
    run("--folder", source, "-o", out)
    before = state(out)
    assert "up to date" in run("--folder", source, "-o", out).stderr and state(out) == before
    assert "up to date" not in run("--folder", source, "-o", out, "-f").stderr and state(out) != before
    (source / "u001.txt").write_text("c")
    run("--folder", source, "-o", out)
    assert texts(out) == ["a", "c"]
    run("--folder", source, "-o", out, "--batch", 1)
    assert len(expand([out])) == 2
    run("--folder", source, "-o", out, "--split", "test=0.5")
    assert not list(out.glob("*.tar")) and len(texts(out / "test", out / "train")) == 2
    with (out / "test" / "000000.tar").open("r+b") as shard:
        shard.truncate(1024)
    run("--folder", source, "-o", out, "--split", "test=0.5")
    assert len(texts(out / "test", out / "train")) == 2


def test_others_shards_are_not_replaced(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", ["a"]), tmp_path / "emb"
    with ShardWriter(out / "000000.tar", "a fingerprint of arl encode") as shard:
        shard.write("k", {"json": b"{}"})
    (out / "000001.tar").write_bytes(b"half a shard")
    before = state(out)
    run("--folder", source, "-o", out, "-f", fails=ArlError)
    assert state(out) == before


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "clips", ["a"]), tmp_path / "out"
    (out / ".part-killed" / "out").mkdir(parents=True)
    run("--folder", source, "-o", out)
    assert not list(out.glob(".part-*")) and texts(out) == ["a"]


def test_shards_of_ours_can_be_split_again(tmp_path: Path) -> None:
    run("--folder", clips(tmp_path / "clips", ["a", "b", "c", "d"]), "-o", tmp_path / "first")
    run("--shards", tmp_path / "first", "-o", tmp_path / "second", "--split", "test=0.5")
    whole = {sample.key: sample.members for sample in samples(tmp_path / "first")}
    assert {s.key: s.members for s in samples(tmp_path / "second" / "test", tmp_path / "second" / "train")} == whole


def test_usage_errors(tmp_path: Path) -> None:
    source = clips(tmp_path / "clips", ["a"])
    for arguments in (
        (),
        ("--folder", source, "--asterisk"),
        ("--folder", source, "--split", "test=2"),
        ("--folder", source, "--allow-pipes"),
        ("--folder", source, "--audio-root", source),
        ("--folder", source, "--min-s", 2, "--max-s", 1),
        ("--synthetic", "1,2"),
    ):
        run("-o", tmp_path / "out", *arguments, fails=UsageError)
    (tmp_path / "file").write_text("")
    run("--folder", source, "-o", tmp_path / "file", fails=ArlError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_recording_is_a_bad_sample(tmp_path: Path) -> None:
    source = clips(tmp_path / "clips", ["a", "b"])
    (source / "u000.wav").chmod(0)
    run("--folder", source, "-o", tmp_path / "out", "--max-failed", 1)
    assert texts(tmp_path / "out") == ["b"]


def test_texts_to_speak_are_shards_without_audio(tmp_path: Path) -> None:
    source = tmp_path / "prompts.txt"
    source.write_text("good morning\n\nbee-2\tpress  one\n")
    run("--texts", source, "-o", tmp_path / "texts")
    found = samples(tmp_path / "texts")
    assert [sample.key for sample in found] == ["prompts-000001", "bee-2"]
    assert [set(sample.members) for sample in found] == [{"json"}] * 2
    assert found[1].json("json") == {"lang": "en", "text": "press one"}
    run("--texts", source, "--max-s", 2, "-o", tmp_path / "other", fails=UsageError)
    source.write_text("\tno key\n")
    failed = run("--texts", source, "-o", tmp_path / "other", fails=ArlError)
    assert "prompts.txt:1" in failed.output
    source.write_text("\n \n")
    run("--texts", source, "-o", tmp_path / "other", fails=ArlError)
