"""`arl mine` on what it has made before, in whole or in part: skipped, made anew, gone on with."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arl.errors import ArlError
from tests.data.mining.clips import audio_shards, column
from tests.data.mining.place import contents, flags, made_place, manifest, run, state


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return made_place(tmp_path)


def test_equal_inputs_give_equal_bytes_and_another_seed_other_sets(place: Path) -> None:
    run(*flags(place))
    first = contents(place / "sets")
    run(*flags(place), "-f")
    assert contents(place / "sets") == first
    run(*flags(place), "--seed", 1)
    assert contents(place / "sets") != first


def test_skips_what_is_up_to_date(place: Path) -> None:
    run(*flags(place))
    before = state(place / "sets")
    assert "up to date" in run(*flags(place)).stderr and state(place / "sets") == before
    assert "up to date" not in run(*flags(place), "-f").stderr and state(place / "sets") != before
    run(*flags(place), "--sets", "D0,D1,D2,D3", "--disagree", 0.9)
    assert json.loads((place / "sets" / "mine.json").read_text())["arguments"]["disagree"] == 0.9
    table = place / "other.tsv"
    table.write_text(table.read_text().replace("muttered", "uttered"))
    assert "up to date" not in run(*flags(place), "--disagree", 0.9).stderr
    (place / "list").write_text("Digium\nAsterisk\nbutton\n")
    assert "up to date" not in run(*flags(place), "--disagree", 0.9).stderr
    audio_shards(place / "data" / "test", {"x": {"text": "please press the button b"}}, first_seed=990)
    assert "text in --against" in run(*flags(place), "--disagree", 0.9).stderr
    (place / "sets" / "manifest.jsonl").unlink()
    run(*flags(place), "--disagree", 0.9)
    assert manifest(place)


def test_inputs_may_be_moved(place: Path) -> None:
    run(*flags(place))
    (place / "other.tsv").rename(place / "moved.tsv")
    moved = [place / "moved.tsv" if flag == f"other={place / 'other.tsv'}" else flag for flag in flags(place)]
    moved = [f"other={flag}" if flag == place / "moved.tsv" else flag for flag in moved]
    assert "up to date" in run(*moved).stderr


def test_fewer_sets_leave_no_old_shards(place: Path) -> None:
    run(*flags(place))
    plain = ["--shards", place / "data" / "train", "-o", place / "sets"]
    run(*plain, "--sets", "D0", "--size", 2)
    assert [path.parent.name for path in (place / "sets").rglob("*.tar")] == ["D0"]


def test_others_shards_are_not_replaced(place: Path) -> None:
    column(place / "sets" / "D1", place / "data" / "train", lambda key: {"prompt.json": b"{}"})
    before = state(place / "sets")
    error = run(*flags(place), "-f", fails=ArlError)
    assert "not written by arl mine" in str(error.exception) and state(place / "sets") == before


def test_killed_at_any_moment_it_leaves_nothing_half_and_goes_on(tmp_path: Path) -> None:
    metas = {f"u{n}": {"text": f"words {n}", "duration_s": 0.02} for n in range(300)}
    train = audio_shards(tmp_path / "data", metas, batch=100)
    program = [sys.executable, "-c", "from arl.cli.main import main; main()", "mine", "--shards", str(train),
               "--sets", "D0,D2", "--size", "D0=200", "--longer-s", "0.4", "--join-up-to-s", "1",
               "--batch", "2"]  # fmt: skip
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run([*program, "-o", undisturbed], check=True, capture_output=True)
    rng, parts = random.Random(0), []
    (killed / ".part-mine-other" / "out").mkdir(parents=True)
    for n_shards in (1, 30, 60):
        process = subprocess.Popen([*program, "-o", killed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(parts := list(killed.glob(".part-*/out/D*/*.tar"))) < n_shards:
            time.sleep(0.002 * rng.random())
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not list(killed.glob("D*")) and not (killed / "mine.json").exists()
    kept = {path.name: path.stat().st_ino for path in parts if path.parent.name == "D0"}
    subprocess.run([*program, "-o", killed], check=True, capture_output=True)
    assert contents(killed) == contents(undisturbed)
    assert kept and all((killed / "D0" / name).stat().st_ino == inode for name, inode in kept.items())
    assert not list(killed.glob(".part-*"))
