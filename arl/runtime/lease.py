"""The device lease: one stage at a time is awake on the accelerator, the engine included.

An flock on `lease` in the warm folder, so the kernel frees it when its holder dies; the file says who holds it. Before
a stage other than the engine's wakes on a GPU, the resident engine gives its memory back (it takes it again, with the
policy's weights, when the next rollout, eval or sync holds the lease). On a CPU there is nothing to give back, and
without a warm folder nobody to share with. Left out: sharing among machines, and among runs with other warm folders.

    with device_lease("update", "cuda") as waited_s: ...
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from arl.runtime.console import note
from arl.runtime.private import make_private
from arl.runtime.process import start_time
from arl.runtime.warm.state import FOLDER, warm_folder

FILE = "lease"
_HELD: set[str] = set()  # warm folders whose lease this process has


@contextmanager
def device_lease(holder: str, device: str, evict: Callable[[str], None] | None = None) -> Iterator[float]:
    """Holds the device for `holder` (a stage's name); yields the seconds that it was waited for.

    device: "cpu", "cuda" or "cuda:N". A process that has the lease may take it again. evict: called with a GPU as soon
    as the lease is held, and makes room on it (`arl.engine.session.hold_device` says how); what it raises ends it.
    """
    folder = warm_folder() or os.path.abspath(FOLDER)
    if folder in _HELD or (device == "cpu" and not os.path.isdir(folder)):
        yield 0.0
        return
    make_private(folder)
    began = time.monotonic()
    with open(os.path.join(folder, FILE), "a+") as file:
        _lock(file, folder, holder)
        waited_s = time.monotonic() - began
        _write_holder(file, {"holder": holder, "pid": os.getpid(), "since": time.monotonic(), "waited_s": waited_s})
        _HELD.add(folder)
        try:
            if device != "cpu" and evict is not None:
                evict(device)
            yield waited_s
        finally:
            _HELD.discard(folder)
            _write_holder(file, {})


def read_lease(folder: str) -> dict[str, Any]:
    """{"holder": None or a stage, "pid", "held_s", "waited_s", "waiting": how many wait for it}."""
    free = {"holder": None, "pid": None, "held_s": 0.0, "waited_s": 0.0, "waiting": _count_waiting(folder)}
    try:
        with open(os.path.join(folder, FILE)) as file:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return free  # a holder that died has left its name, not its lock
            said = json.load(file)
    except (OSError, ValueError):
        return free
    if not said:
        return free
    since = said.pop("since")
    return {**free, **said, "held_s": time.monotonic() - since}


def _lock(file: IO[str], folder: str, holder: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        other = read_lease(folder)
    mark = os.path.join(folder, f"waiting-{os.getpid()}")
    open(mark, "w").close()
    try:
        note(f"{holder}: waiting for the device, which {other['holder']} (pid {other['pid']}) has")
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        os.unlink(mark)


def _write_holder(file: IO[str], what: dict[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    json.dump(what, file)
    file.flush()


def _count_waiting(folder: str) -> int:
    """Processes that wait; the marks of dead ones are removed."""
    count = 0
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            kind, _, pid = name.partition("-")
            if kind == "waiting" and pid.isdigit():
                if start_time(int(pid)) is None:
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))
                else:
                    count += 1
    return count
