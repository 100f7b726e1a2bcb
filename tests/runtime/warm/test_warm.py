"""Warm stages with real workers: results, streams, exit codes and signals as cold; bad workers are replaced."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from arl.policy import Policy
from arl.runtime.warm import client, identity, start
from arl.shards.columns import dumps
from arl.shards.writer import write_shard
from tests.in_process import command_line
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards

ARL = str(Path(sys.executable).with_name("arl"))
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ARL_")} | {
    "OMP_NUM_THREADS": "1"
}

SLOW = """
import pathlib, time
from arl import reward

@reward
def slow(utterance):
    pathlib.Path("asleep").touch()
    time.sleep(60)
    return [0.0 for _ in utterance.hyps]
"""

OF_THE_CALLER = """
import os, pathlib, sys
from arl import reward

@reward
def caller(utterance):
    mask = os.umask(0); os.umask(mask)
    print("from the program", file=sys.stderr)
    pathlib.Path("seen").write_text(f"{os.getcwd()} {os.environ.get('COLOUR')} {mask:o}")
    return [0.5 for _ in utterance.hyps]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A folder with rollouts of one utterance, and its warm reward worker."""
    folder = tmp_path_factory.mktemp("warm") / ("long" * 30)  # longer than a Unix address may be
    folder.mkdir()
    hyp = {"text": "one", "tokens": [1, 2], "logprobs": [-0.5, -0.5], "finish": "stop"}
    member = {"policy": "000000-abc", "temperature": 1.0, "hyps": [hyp, hyp]}
    write_shard(folder / "data" / "000000.tar", [("a", {"json": dumps({"text": "one", "lang": "en"})})])
    write_shard(folder / "rollout" / "000000.tar", [("a", {"rollout.json": dumps(member)})])
    (folder / "slow.py").write_text(SLOW)
    (folder / "caller.py").write_text(OF_THE_CALLER)
    assert arl(folder, "warm", "start", "reward").returncode == 0
    yield folder
    assert arl(folder, "warm", "stop").returncode == 0
    assert start.read_worker(str(folder / ".arl" / "warm"), "reward") is None


def arl(folder: Path, *words: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    command = [ARL, *words]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | (env or {}), capture_output=True, text=True, timeout=120, **options
    )


def reward_words(*words: str) -> list[str]:
    return ["reward", "--shards", "rollout/", "--shards", "data/", "-f", *words]


def worker(folder: Path) -> dict:
    found = start.ask(str(folder / ".arl" / "warm"), "reward")
    assert found is not None
    return found


def test_a_job_has_the_streams_folder_environment_and_umask_of_its_caller(place: Path) -> None:
    before = worker(place)
    done = arl(place, *reward_words("--with", "./caller.py"), env={"COLOUR": "green"}, umask=0o27)
    assert done.returncode == 0 and "from the program" in done.stderr and done.stdout == ""
    assert (place / "seen").read_text() == f"{place} green 27"
    after = worker(place)
    assert (after["pid"], after["jobs"]) == (before["pid"], before["jobs"] + 1)
    cold = arl(place, *reward_words("--with", "./caller.py", "-o", "cold"), env={"ARL_WARM": ""})
    assert cold.stderr == done.stderr
    assert worker(place)["jobs"] == after["jobs"], "an empty ARL_WARM means cold"
    assert (place / "cold" / "000000.tar").read_bytes() == (place / "reward" / "000000.tar").read_bytes()


@pytest.mark.parametrize(
    "words", [["--with", "nonexistent"], ["--with", "wer", "--nonsense"], ["--with", "false"], ["--with", "wer=x"]]
)
def test_failures_look_the_same_warm_and_cold(place: Path, words: list[str]) -> None:
    before = worker(place)["jobs"]
    warm, cold = (arl(place, *reward_words(*words), env=env) for env in ({}, {"ARL_WARM": ""}))
    assert worker(place)["jobs"] == before + 1
    assert warm.returncode == cold.returncode != 0
    assert (warm.stdout, warm.stderr) == (cold.stdout, cold.stderr)


def start_slow(place: Path) -> subprocess.Popen:
    """A job that sleeps for a minute, once it sleeps."""
    (place / "asleep").unlink(missing_ok=True)
    words = [ARL, *reward_words("--with", "./slow.py", "-o", "slow")]
    process = subprocess.Popen(words, cwd=place, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_for((place / "asleep").exists)
    return process


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing has happened"
        time.sleep(0.02)


def works(place: Path) -> subprocess.CompletedProcess[str]:
    done = arl(place, *reward_words("--with", "wer"))
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_job_and_not_the_worker(place: Path, number: int, code: int) -> None:
    before = worker(place)["pid"]
    process = start_slow(place)
    assert worker(place)["busy"] == process.pid
    process.send_signal(number)
    assert process.wait(30) == code
    assert not list((place / "slow").glob("*.tar*")) and not list((place / "slow").glob(".*"))
    works(place)
    assert worker(place)["pid"] == before


def test_the_job_of_a_killed_client_ends(place: Path) -> None:
    before = worker(place)["pid"]
    process = start_slow(place)
    process.kill()
    process.wait()
    wait_for(lambda: worker(place)["busy"] is None)
    works(place)
    assert worker(place)["pid"] == before


def test_a_second_job_waits_its_turn(place: Path) -> None:
    process = start_slow(place)
    second = subprocess.Popen(
        [ARL, *reward_words("--with", "wer")], cwd=place, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    assert second.stderr is not None
    assert "waiting for the warm reward worker" in second.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130 and second.wait(30) == 0


def test_a_worker_that_dies_at_work_is_one_line_and_is_replaced(place: Path) -> None:
    pid = worker(place)["pid"]
    process = start_slow(place)
    os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.splitlines() == [f"arl: the warm reward worker (pid {pid}) died at its work; run the command again"]
    assert "is gone: starting another" in works(place).stderr
    assert worker(place)["pid"] != pid


def test_a_worker_of_another_environment_is_replaced(place: Path) -> None:
    pid = worker(place)["pid"]
    done = arl(place, *reward_words("--with", "wer"), env={"OMP_NUM_THREADS": "2"})
    assert done.returncode == 0 and "runs other code or another environment: starting another" in done.stderr
    assert worker(place)["pid"] != pid and start.ask(str(place / ".arl" / "warm"), "reward") is not None
    works(place)


def test_a_hung_worker_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = worker(place)["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.chdir(place)
    monkeypatch.setattr(client, "HUNG_S", 0.3)
    monkeypatch.setattr(start.ask, "__defaults__", (0.3,))
    monkeypatch.delenv("ARL_WARM", raising=False)
    assert client.forward("reward", reward_words("--with", "wer")) == 0
    assert start.read_worker(str(place / ".arl" / "warm"), "reward")["pid"] != pid


def test_a_starter_killed_while_it_starts_leaves_no_worker(tmp_path: Path) -> None:
    starter = subprocess.Popen([ARL, "warm", "start", "report", "--warm", str(tmp_path / "warm")], env=ENVIRONMENT)
    worker = start.worker_process(str(tmp_path / "warm"), "report")

    def workers() -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and worker.is_process(int(name))]

    while not workers():
        assert starter.poll() is None
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 60
    while workers() and start.read_worker(str(tmp_path / "warm"), "report") is None:
        assert time.monotonic() < deadline, "a worker that nobody knows of"
        time.sleep(0.05)
    start.stop(str(tmp_path / "warm"), "report")
    assert workers() == []


def test_a_warm_folder_of_others_gets_no_job(place: Path) -> None:
    (place / ".arl" / "warm").chmod(0o777)
    try:
        done = arl(place, *reward_words("--with", "wer"))
        assert done.returncode == 1 and "others can write to it" in done.stderr and len(done.stderr.splitlines()) == 1
    finally:
        (place / ".arl" / "warm").chmod(0o700)


def test_code_version_notices_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    monkeypatch.setattr(identity, "PACKAGE", str(tmp_path))
    before = identity.code_version()
    (tmp_path / "notes.txt").write_text("no code")
    assert identity.code_version() == before
    (tmp_path / "a.py").write_text("x = 22")
    assert identity.code_version() != before


def test_help_and_other_commands_stay_cold(place: Path) -> None:
    before = worker(place)["jobs"]
    assert "Usage: arl reward" in arl(place, "reward", "--help").stdout
    status = json.loads(arl(place, "warm", "status", "--json").stdout)
    assert [row["stage"] for row in status["workers"]] == ["reward"] and status["lease"]["holder"] is None
    assert worker(place)["jobs"] == before


@pytest.mark.slow
def test_update_gives_the_same_bits_warm_and_cold(tmp_path: Path) -> None:
    """Three updates in a row, of which the worker keeps the policy, the optimizer's state and the reference."""
    make_tiny_policy(tmp_path / "policy")
    shards = make_rl_shards(tmp_path, Policy.open(tmp_path / "policy"), shards=1)
    words = ["update", *(word for folder in shards for word in ("--shards", folder)), "--lr", "1e-3", "--allow-stale"]
    words += ["--device", "cpu", "--threads", "1"]
    policies = {}
    try:
        assert arl(tmp_path, "warm", "start", "update").returncode == 0
        for kind, run in (("warm", arl), ("cold", command_line)):
            policy = "policy"
            for step in range(3):
                out = f"{kind}-{step}"
                done = run(tmp_path, *words, "--policy", policy, "--reference", "policy", "-o", out)
                assert done.returncode == 0, done.stderr
                policies[out] = contents(tmp_path / out)
                policy = out
        for step in range(3):
            assert policies[f"warm-{step}"] == policies[f"cold-{step}"]
        assert policies["warm-2"] != policies["warm-1"]
        shutil.rmtree(tmp_path / "warm-1")  # and a policy that another one has replaced on disk
        shutil.copytree(tmp_path / "warm-0", tmp_path / "warm-1")
        last = [*words, "--policy", "warm-1", "--reference", "policy", "-o", "again"]
        assert arl(tmp_path, *last).returncode == 0
        assert contents(tmp_path / "again") == policies["warm-1"]
        status = start.ask(str(tmp_path / ".arl" / "warm"), "update")
        assert status is not None and status["jobs"] == 4
    finally:
        arl(tmp_path, "warm", "stop")


def contents(policy: Path) -> dict[str, bytes]:
    """The weights and the optimizer's state."""
    return {path.name: path.read_bytes() for path in sorted(policy.rglob("*")) if path.suffix == ".safetensors"}
