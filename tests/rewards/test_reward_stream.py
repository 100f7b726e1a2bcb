"""`arl reward --shards -`: rollouts scored as they come down a pipe."""

import subprocess
import sys
import time
from typing import Any

import pytest

from arl.shards.columns import ROLLOUT
from arl.shards.reader import read_shard
from arl.shards.record import read_record
from tests.rewards.reward_runs import invoke, rollouts_with_references


@pytest.fixture
def run(tmp_path):
    return rollouts_with_references(tmp_path)


def piped(*words: object, **options: Any) -> subprocess.Popen:
    """`arl reward` with a pipe for its standard input."""
    command = [sys.executable, "-c", "from arl.cli.main import main; main()", "reward", *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_standard_input_is_a_shard_of_the_other_sources_name(run, tmp_path):
    given, audio = (run / "000000.tar").read_bytes(), tmp_path / "data" / "train" / "000000.tar"
    words = ["--shards", "-", "--shards", audio, "--with", "wer"]
    process = piped(*words, "-o", tmp_path / "piped")
    _, errors = process.communicate(given)
    assert process.returncode == 0, errors
    invoke("--shards", run / "000000.tar", "--shards", audio, "--with", "wer", "-o", tmp_path / "named")
    assert (tmp_path / "piped" / "000000.tar").read_bytes() == (tmp_path / "named" / "000000.tar").read_bytes()
    (line,) = read_record(tmp_path / "piped")
    assert not any("arl-stdin" in source for source in line["sources"])
    process = piped(*words)
    assert b"needs --out" in process.communicate(given)[1] and process.returncode == 1


def test_a_shard_is_scored_while_it_is_still_being_made(run, tmp_path):
    given, audio = (run / "000000.tar").read_bytes(), tmp_path / "data" / "train" / "000000.tar"
    program = tmp_path / "slow.py"
    program.write_text(
        "import sys\n"
        "from arl import reward\n"
        "@reward\n"
        "def seen(utterance):\n"
        f"    open({str(tmp_path / 'seen')!r}, 'a').write(utterance.key + '\\n')\n"
        "    return [0.0] * len(utterance.hyps)\n"
        "seen.main()\n"
    )
    process = piped("--shards", "-", "--shards", audio, "--with", program, "--child", "-o", tmp_path / "piped")
    first_two = [sample.offsets[ROLLOUT] for sample in read_shard(run / "000000.tar")][1]
    some = first_two[1] + first_two[2] + 512
    process.stdin.write(given[:some])
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not (tmp_path / "seen").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    assert not (tmp_path / "piped" / "000000.tar").exists()
    _, errors = process.communicate(given[some:])
    assert process.returncode == 0, errors
    (line,) = read_record(tmp_path / "piped")
    assert line["waited_s"] > 0 and line["seconds"]["run"] >= 0
    assert len((tmp_path / "seen").read_text().split()) == len(list(read_shard(tmp_path / "piped" / "000000.tar")))


def test_a_stream_that_breaks_off_leaves_nothing(run, tmp_path):
    given, audio = (run / "000000.tar").read_bytes(), tmp_path / "data" / "train" / "000000.tar"
    process = piped("--shards", "-", "--shards", audio, "--with", "wer", "-o", tmp_path / "piped")
    _, errors = process.communicate(given[: len(given) // 2 // 512 * 512])
    assert process.returncode == 1 and len(errors.splitlines()) == 1, errors
    assert errors.startswith(b"arl: standard input: cut "), errors
    assert not list((tmp_path / "piped").glob("*.tar*"))
