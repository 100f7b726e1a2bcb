"""`arl reward --jobs N`: the same shards for any N, and the same failures."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.reward import reward
from arl.errors import ArlError, UsageError
from arl.rewards.jobs import WORTH_BYTES, jobs_for
from arl.rewards.programs.compose import Panel
from arl.rewards.reading import RewardJob
from arl.shards.columns import dumps
from arl.shards.record import read_record
from arl.shards.writer import write_shard

app = typer.Typer()
app.command()(reward)
PANEL = ["--with", "wer", "--with", "keyword=0.5", "--gate", "hallucination=-1"]
IMPURE = "from arl import reward\n@reward\ndef plain(u):\n    return [0.0] * len(u.hyps)\n"


def invoke(*words) -> dict:
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def shards(tmp_path):
    """Folders of 5 audio and 5 rollout shards, each of 3 groups of 3 hypotheses."""
    for number in range(5):
        keys = [f"u{number}{k}" for k in range(3)]
        refs = {key: f"please call anna number {key}" for key in keys}
        metas = (
            (key, {"json": dumps({"text": text, "lang": "en", "keywords": ["Anna"]})}) for key, text in refs.items()
        )
        write_shard(tmp_path / "data" / f"{number:06d}.tar", metas)
        texts = {key: [ref, ref.replace("anna", "hannah"), ref + " now" * 9] for key, ref in refs.items()}
        hyps = {
            key: [{"text": t, "tokens": [1], "logprobs": [-0.5], "finish": "stop"} for t in texts[key]] for key in keys
        }
        rows = ((key, {"rollout.json": dumps({"policy": "0", "temperature": 1, "hyps": hyps[key]})}) for key in keys)
        write_shard(tmp_path / "rollout" / f"{number:06d}.tar", rows)
    return ["--shards", tmp_path / "rollout", "--shards", tmp_path / "data"]


@pytest.mark.slow
def test_shards_and_figures_do_not_depend_on_the_number(shards, tmp_path):
    figures = [invoke(*shards, *PANEL, "--jobs", jobs, "-o", tmp_path / f"r{jobs}") for jobs in (1, 2, 9)]
    assert [{**each, "out": ""} for each in figures] == [{**figures[0], "out": ""}] * 3
    assert figures[0]["component_means"]["hallucination"] == pytest.approx(1 / 3)
    for number in range(5):
        one, two, nine = ((tmp_path / f"r{jobs}" / f"{number:06d}.tar").read_bytes() for jobs in (1, 2, 9))
        assert one == two == nine
    assert [line["shard"] for line in read_record(tmp_path / "r9")] == [f"{number:06d}" for number in range(5)]
    assert invoke(*shards, *PANEL, "--jobs", 2, "-o", tmp_path / "r1")["skipped"] == 5


@pytest.mark.slow
def test_bad_samples_are_counted_over_all_processes(shards, tmp_path):
    for number in (1, 3):
        metas = ((f"u{number}{k}", {"json": dumps({"lang": "en"} if k else {"text": "x"})}) for k in range(3))
        write_shard(tmp_path / "data" / f"{number:06d}.tar", metas)
    assert invoke(*shards, *PANEL, "--jobs", 2, "--max-failed", 4, "-o", tmp_path / "r")["failed"] == 4
    with pytest.raises(ArlError, match="--max-failed 3"):
        invoke(*shards, *PANEL, "--jobs", 2, "--max-failed", 3, "-o", tmp_path / "r", "-f")


def test_a_program_that_crashes_fails_the_stage(shards, tmp_path):
    (tmp_path / "crash.py").write_text(
        "from arl import reward\n@reward(pure=True)\ndef crash(u):\n    return [1 / (u.key != 'u31')] * len(u.hyps)\n"
    )
    with pytest.raises(ArlError, match=r"crash: line \d+ \(key 'u31'\): ZeroDivisionError"):
        invoke(*shards, "--with", tmp_path / "crash.py", "--jobs", 2, "-o", tmp_path / "r")
    assert not (tmp_path / "r" / "000003.tar").exists()


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_its_processes_end_with_it(shards, tmp_path, signal_number, code):
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, os, time\nfrom arl import reward\n@reward(pure=True)\ndef slow(u):\n"
        f"    (pathlib.Path({str(tmp_path)!r}) / f'{{os.getpid()}}.pid').touch()\n    time.sleep(1)\n"
        "    return [0.0] * len(u.hyps)\n"
    )
    command = [sys.executable, "-c", "from arl.cli.entry import main; main()", "reward", *map(str, shards)]
    command += ["--with", str(slow), "--jobs", "2", "-o", str(tmp_path / "r")]
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, preexec_fn=heeding)
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    if signal_number == signal.SIGINT:
        os.killpg(running.pid, signal_number)  # as a terminal does
    else:
        running.kill()
    assert running.wait(20) == code
    processes = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    assert len(list((tmp_path / "r").glob("*.tar"))) < 5


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_process_for_little_text_and_for_programs_that_run_once(shards, tmp_path):
    (tmp_path / "plain.py").write_text(IMPURE)
    small = [RewardJob([tmp_path / "rollout" / f"{number:06d}.tar"], None) for number in range(5)]
    pure, impure = Panel.parse(["wer"]), Panel.parse(["wer", str(tmp_path / "plain.py")])
    assert jobs_for(0, pure, small) == 1
    assert jobs_for(2, pure, small) == 2 and jobs_for(9, pure, small) == 5
    assert jobs_for(3, pure, small[:1]) == 1
    with (tmp_path / "rollout" / "000000.tar").open("ab") as stream:
        stream.truncate(WORTH_BYTES)
    assert jobs_for(0, pure, small) == min(5, len(os.sched_getaffinity(0)))
    assert jobs_for(0, impure, small) == 1
    with pytest.raises(UsageError, match="plain runs once"):
        jobs_for(2, impure, small)
    with pytest.raises(UsageError, match="--jobs -1"):
        jobs_for(-1, pure, small)
    assert jobs_for(0, Panel.parse(["wer"], child=True), small) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_hung_program_does_not_hold_up_its_end(shards, tmp_path, signal_number, code):
    """Ctrl-C and SIGTERM end the stage at once, though a program never answers."""
    (tmp_path / "hung.py").write_text(
        "import os, time\nfrom arl import reward\n@reward(pure=True)\ndef hung(u):\n"
        f"    open(os.path.join({str(tmp_path)!r}, f'pid-{{os.getpid()}}'), 'w').close()\n    time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", "from arl.cli.main import main; main()", "reward", *map(str, shards)]
    command += ["--with", str(tmp_path / "hung.py"), "--jobs", "2", "-o", str(tmp_path / "r")]
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heeding)
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2, 120)
    process.send_signal(signal_number)
    assert process.wait(60) == code
    pids = [path.name[4:] for path in tmp_path.glob("pid-*")]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
