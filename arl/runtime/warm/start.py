"""Starting and ending workers: one detached process per stage, its own session, with a log in the warm folder."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from arl.errors import ArlError
from arl.runtime.process import start_time
from arl.runtime.warm.messages import Closed, open_socket, receive, send
from arl.runtime.warm.state import forget_worker, log_path, make_folder, read_worker, socket_name

START_S = 120.0
LOG_LINES = 15


def start(folder: str, stage: str) -> bool:
    """Starts the stage's worker and waits until it takes jobs; False when one already did. ArlError if it ends."""
    make_folder(folder)
    with _lock(folder, stage):
        if ask(folder, stage) is not None:
            return False
        _end(folder, stage)
        _spawn(folder, stage)
    return True


def replace(folder: str, stage: str) -> None:
    """Ends the worker if it is unfit, then starts another. One that another client has just started is left alone."""
    from arl.runtime.warm.identity import identity

    make_folder(folder)
    with _lock(folder, stage):
        answer = ask(folder, stage)
        if answer is not None and answer["identity"] == identity():
            return
        _end(folder, stage)
        _spawn(folder, stage)


def stop(folder: str, stage: str) -> bool:
    """Ends the stage's worker, with the job it may be doing; False when there was none."""
    if not os.path.isdir(folder):
        return False
    with _lock(folder, stage):
        return _end(folder, stage)


def ask(folder: str, stage: str, timeout_s: float = 5.0) -> dict | None:
    """What the worker says about itself, or None when none answers."""
    try:
        with open_socket(folder, socket_name(stage), connect=True) as connection:
            connection.settimeout(timeout_s)
            send(connection, {"do": "status"})
            return receive(connection)[0]
    except (OSError, Closed):  # TimeoutError is an OSError
        return None


def _end(folder: str, stage: str, grace_s: float = 5.0) -> bool:
    """SIGTERM, and SIGKILL to one that is still there after the grace; its traces are removed."""
    worker = read_worker(folder, stage)
    if worker is None:
        for name in (f"{stage}.json", socket_name(stage)):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        return False
    for number, seconds in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            os.kill(worker["pid"], number)
        deadline = time.monotonic() + seconds
        while start_time(worker["pid"]) == worker["started"] and time.monotonic() < deadline:
            time.sleep(0.02)
    forget_worker(folder, stage, worker["pid"])
    return True


def _spawn(folder: str, stage: str) -> None:
    with open(log_path(folder, stage), "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "arl.runtime.warm.worker", folder, stage],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_S
    try:
        while read_worker(folder, stage) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ArlError(f"the warm {stage} worker did not start; the end of {log_path(folder, stage)}:\n"
                               + _log_end(folder, stage))  # fmt: skip
            time.sleep(0.02)
    except BaseException:  # also Ctrl-C
        process.kill()
        process.wait()
        raise


def _log_end(folder: str, stage: str) -> str:
    with open(log_path(folder, stage), errors="replace") as stream:
        return "".join(f"  {line}" for line in stream.readlines()[-LOG_LINES:])


@contextmanager
def _lock(folder: str, stage: str) -> Iterator[None]:
    """One starter at a time; the kernel drops the lock when its holder dies."""
    with open(os.path.join(folder, f"{stage}.lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
