"""Resident processes: their record, one starter at a time, the end of a log, and an end that comes."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.runtime.daemon import Daemon, end, is_running, session_members
from arl.runtime.process import start_time


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    made = Daemon(tmp_path / "state", "toy", "the toy")
    made.make_folder()
    return made


def record_of(pid: int) -> dict[str, int]:
    return {"pid": pid, "started": start_time(pid) or 0}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_record_and_log_are_private(daemon: Daemon) -> None:
    daemon.write(record_of(os.getpid()))
    daemon.spawn("this", []).wait()
    assert (mode(daemon.folder), mode(daemon.record_path), mode(daemon.log_path)) == (0o700, 0o600, 0o600)


def test_a_record_says_whether_its_process_runs(daemon: Daemon) -> None:
    assert daemon.last() is None
    daemon.write({**record_of(os.getpid()), "more": 1})
    record = daemon.last()
    assert record is not None and record["more"] == 1 and is_running(record)
    assert not is_running({**record, "started": record["started"] - 1}), "a reused process number"
    assert not daemon.forget(os.getpid() + 1) and daemon.forget(os.getpid())
    assert daemon.last() is None


@pytest.mark.parametrize("text", ["", "[]", '{"pid": 3}', "\xff"])
def test_another_record_is_an_error(daemon: Daemon, text: str) -> None:
    daemon.record_path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError):
        daemon.last()


def test_the_second_starter_is_told_and_waits(daemon: Daemon) -> None:
    told, done = threading.Event(), []

    def second() -> None:
        with daemon.lock(told.set):
            done.append("second")

    with daemon.lock():
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(20)
        done.append("first")
    thread.join(20)
    assert done == ["first", "second"]


def test_a_process_that_ends_while_starting_shows_its_log_without_the_secret(daemon: Daemon) -> None:
    process = daemon.spawn("no_such_module_key-1", [])
    with pytest.raises(
        ArlError, match=r"(?s)the toy ended while starting; the end of .*toy.log:\n.*no_such_module_\.\.\."
    ):
        daemon.wait_until(
            lambda: False, process.pid, start_time(process.pid) or 0, time.monotonic() + 60, secret="key-1"
        )  # fmt: skip
    process.wait()


def test_one_that_does_not_become_ready_is_given_up(daemon: Daemon) -> None:
    daemon.log_path.write_text("still loading\n")
    with pytest.raises(ArlError, match="(?s)did not answer in time; .*still loading"):
        daemon.wait_until(lambda: False, os.getpid(), start_time(os.getpid()) or 0, time.monotonic())


def test_the_end_comes_to_a_session_that_ignores_signals() -> None:
    code = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() and process.stdout.readline()
    assert len(session_members(process.pid)) == 2
    end(lambda: session_members(process.pid), grace_s=0.1)
    assert session_members(process.pid) == []
    assert process.wait() == -9


def test_only_a_process_that_was_started_here_runs_here(daemon: Daemon, tmp_path: Path) -> None:
    """A copied or forged record names a living process all the same."""
    process = daemon.spawn("http.server", ["--bind", "127.0.0.1", "0"])
    try:
        record = record_of(process.pid)
        daemon.write(record)
        assert daemon.runs(record) and is_running(record)
        assert not daemon.runs(record_of(os.getpid()))
        copy = Daemon(tmp_path / "copy", "toy", "the toy")
        shutil.copytree(daemon.folder, copy.folder)
        assert copy.last() == record and not copy.runs(record)
        moved = Daemon(tmp_path / "moved", "toy", "the toy")
        daemon.folder.rename(moved.folder)
        assert moved.runs(record)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "text", ['{"pid": "1/../2", "started": 3}', '{"pid": 1, "started": true}', '{"pid": -1, "started": 1}']
)
def test_a_record_with_other_values_is_an_error(daemon: Daemon, text: str) -> None:
    daemon.record_path.write_text(text)
    with pytest.raises(ValueError):
        daemon.last()


def test_a_record_behind_a_link_or_of_others_is_not_read(daemon: Daemon, tmp_path: Path) -> None:
    daemon.write(record_of(os.getpid()))
    daemon.record_path.chmod(0o666)
    with pytest.raises(ValueError, match="own"):
        daemon.last()
    daemon.record_path.chmod(0o600)
    daemon.record_path.rename(tmp_path / "other.json")
    daemon.record_path.symlink_to(tmp_path / "other.json")
    with pytest.raises(ValueError):
        daemon.last()
    daemon.record_path.unlink()
    os.mkfifo(daemon.record_path)
    with pytest.raises(ValueError):
        daemon.last()


def test_waiting_for_a_starter_has_an_end(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arl.runtime.daemon.LOCK_S", 0.1)
    with daemon.lock(), pytest.raises(ArlError, match="another process starts or stops the toy"), daemon.lock():
        pass


def test_a_process_that_says_why_it_ends_is_quoted(daemon: Daemon) -> None:
    daemon.log_path.write_text("much\narl: SGLang has no Such\n")
    with pytest.raises(ArlError, match=r"^the toy: SGLang has no Such \(log: .*toy.log\)$"):
        daemon.wait_until(lambda: False, 1, -1, time.monotonic() + 9)


def test_a_part_that_ended_is_an_end(daemon: Daemon) -> None:
    daemon.log_path.write_text("killed\n")
    own = record_of(os.getpid())
    with pytest.raises(ArlError, match="(?s)the toy ended while starting.*killed"):
        daemon.wait_until(lambda: False, **own, deadline=time.monotonic() + 9, is_whole=lambda: False)
