"""Starting, asking and ending workers: one resident process per stage, with its record and log in the warm folder."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from arl.runtime.console import note
from arl.runtime.daemon import Daemon, end, is_running, session_members
from arl.runtime.process import start_time
from arl.runtime.warm.identity import identity
from arl.runtime.warm.messages import Closed, open_socket, receive, send
from arl.runtime.warm.state import socket_name

START_S = 120.0
GRACE_S = 5.0  # between SIGTERM and SIGKILL


def start(folder: str, stage: str) -> bool:
    """Starts the stage's worker and waits until it takes jobs; False when one already did. ArlError if it ends."""
    worker = worker_process(folder, stage)
    worker.make_folder()
    with worker.lock(lambda: _say_waiting(worker)):
        if ask(folder, stage) is not None:
            return False
        _end(folder, stage)
        _spawn(worker)
    return True


def replace(folder: str, stage: str) -> None:
    """Ends the worker if it is unfit, then starts another. One that another client has just started is left alone."""
    worker = worker_process(folder, stage)
    worker.make_folder()
    with worker.lock(lambda: _say_waiting(worker)):
        answer = ask(folder, stage)
        if answer is not None and answer["identity"] == identity():
            return
        _end(folder, stage)
        _spawn(worker)


def stop(folder: str, stage: str) -> bool:
    """Ends the stage's worker, with the job it may be doing; False when there was none."""
    if not os.path.isdir(folder):
        return False
    worker = worker_process(folder, stage)
    with worker.lock(lambda: _say_waiting(worker)):
        return _end(folder, stage)


def ask(folder: str, stage: str, timeout_s: float = 5.0) -> dict[str, Any] | None:
    """What the worker says about itself, or None when none answers."""
    try:
        with open_socket(folder, socket_name(stage), connect=True) as connection:
            connection.settimeout(timeout_s)
            send(connection, {"do": "status"})
            return receive(connection)[0]
    except (OSError, Closed):  # TimeoutError is an OSError
        return None


def worker_process(folder: str, stage: str) -> Daemon:
    """The stage's worker in this warm folder, whether or not it runs."""
    return Daemon(Path(folder), stage, f"the warm {stage} worker")


def read_worker(folder: str, stage: str) -> dict[str, Any] | None:
    """{"pid", "started", "identity"} of the stage's worker, or None when there is none alive."""
    with suppress(ValueError):  # not readable: no worker of ours
        record = worker_process(folder, stage).last()
        if record is not None and worker_process(folder, stage).runs(record):
            return record
    return None


def write_worker(folder: str, stage: str, code: str) -> None:
    """Says that this process is the stage's worker. code: its identity."""
    record = {"pid": os.getpid(), "started": start_time(os.getpid()), "identity": code}
    worker_process(folder, stage).write(record)


def forget_worker(folder: str, stage: str, pid: int) -> None:
    """Removes the traces of the stage's worker if they are those of `pid`."""
    with suppress(ValueError):
        if worker_process(folder, stage).forget(pid):
            (Path(folder) / socket_name(stage)).unlink(missing_ok=True)


def _end(folder: str, stage: str) -> bool:
    """Ends the worker itself, not what its job has started: the job does that. Its traces are removed."""
    record = read_worker(folder, stage)
    if record is not None:
        end(lambda: [record["pid"]] if is_running(record) else [], GRACE_S)
    for path in (worker_process(folder, stage).record_path, Path(folder) / socket_name(stage)):
        path.unlink(missing_ok=True)
    return record is not None


def _spawn(worker: Daemon) -> None:
    folder, stage = str(worker.folder), worker.name
    # The worker's standard input ends with this process: one that nobody knows of yet leaves then.
    process = worker.spawn("arl.runtime.warm.worker", [folder, stage], stdin=subprocess.PIPE)
    pid = process.pid
    assert process.stdin is not None
    try:
        deadline = time.monotonic() + START_S
        worker.wait_until(lambda: read_worker(folder, stage) is not None, pid, start_time(pid) or 0, deadline)
    except BaseException:  # also Ctrl-C: who gives up the start does not want the worker
        end(lambda: session_members(pid), 0.0)
        raise
    finally:
        process.stdin.close()


def _say_waiting(worker: Daemon) -> None:
    note(f"{worker.title}: another process starts or stops it; waiting")
