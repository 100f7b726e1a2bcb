"""The device lease: one stage at a time is awake on an accelerator, the engine included.

An flock in the warm folder on a file for each device, so the kernel frees it when its holder dies; the file says who
holds it. A GPU's file has the names of its node and of the GPU there, so that stages on different GPUs, or on nodes
that share the folder, do not wait for each other; an engine on several GPUs holds all of theirs. Before a stage other
than the engine's wakes on a GPU, the resident engine gives its memory back (it takes it again, with the policy's
weights, when the next rollout, eval or sync holds the lease). On a CPU there is nothing to give back, and without a
warm folder nobody to share with. Left out: sharing among runs with other warm folders.

    with device_lease("update", "cuda") as waited_s: ...
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

from arl.errors import ArlError
from arl.runtime.console import note
from arl.runtime.private import make_private
from arl.runtime.process import start_time
from arl.runtime.ranks import part
from arl.runtime.warm.state import FOLDER, warm_folder

FILE = "lease"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what flock fails with where a file system has none
_HELD: set[str] = set()  # paths of the leases that this process has


def lease_files(device: str, count: int = 1) -> list[str]:
    """The names of the files, in the order in which they are locked. device: "cpu", "cuda" or "cuda:N".

    count: GPUs from this one on. CUDA_VISIBLE_DEVICES says which GPUs of the node they are.
    """
    if device == "cpu":
        return [FILE]
    first, shown = int(device.partition(":")[2] or 0), os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpus = [shown[i].strip() if i < len(shown) and shown[i] else str(i) for i in range(first, first + count)]
    return sorted(f"{FILE}-{os.uname().nodename}-gpu{gpu}" for gpu in gpus)


@contextmanager
def device_lease(
    holder: str, device: str, evict: Callable[[str], None] | None = None, count: int = 1
) -> Iterator[float]:  # fmt: skip
    """Holds the device for `holder` (a stage's name); yields the seconds that it was waited for.

    device: "cpu", "cuda" or "cuda:N", with the `count` GPUs from there on. A process that has the lease may take it
    again. evict: called with a GPU as soon as the lease is held, and makes room on it (`arl.engine.session.hold_device`
    says how); what it raises ends it. ArlError where the folder's file system has no locks.
    """
    folder = warm_folder() or os.path.abspath(FOLDER)
    paths = [os.path.join(folder, name) for name in lease_files(device, count)]
    wanted = [path for path in paths if path not in _HELD]
    if not wanted or (device == "cpu" and (part()[1] > 1 or not os.path.isdir(folder))):  # parts share the cores
        yield 0.0
        return
    make_private(folder)
    with ExitStack() as stack:
        waited_s = sum(stack.enter_context(_held(path, folder, holder)) for path in wanted)
        if device != "cpu" and evict is not None:
            evict(device)
        yield waited_s


@contextmanager
def _held(path: str, folder: str, holder: str) -> Iterator[float]:
    """One file locked and said to be held; yields the seconds that it was waited for."""
    with open(path, "a+") as file:
        waited_s = _lock(file, path, folder, holder)
        _write_holder(file, {"holder": holder, "pid": os.getpid(), "since": time.monotonic(), "waited_s": waited_s})
        _HELD.add(path)
        try:
            yield waited_s
        finally:
            _HELD.discard(path)
            _write_holder(file, {})


def read_lease(folder: str) -> dict[str, Any]:
    """{"holder": None or a stage, "pid", "held_s", "waited_s", "waiting": how many wait}: of the first device of this
    node that is held."""
    free = {"holder": None, "pid": None, "held_s": 0.0, "waited_s": 0.0, "waiting": _count_waiting(folder)}
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            is_here = name == FILE or name.startswith(f"{FILE}-{os.uname().nodename}-")
            if is_here and (said := _read_holder(os.path.join(folder, name))):
                return {**free, **said}
    return free


def _read_holder(path: str) -> dict[str, Any]:
    """What the holder of one file says of itself; {} where nobody has it."""
    try:
        with open(path) as file:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return {}  # a holder that died has left its name, not its lock
            said = json.load(file)
    except (OSError, ValueError):
        return {}
    return {**said, "held_s": time.monotonic() - said.pop("since")} if said else {}


def _lock(file: IO[str], path: str, folder: str, holder: str) -> float:
    """Seconds that another process was waited for; 0 where none had the lock, however slow this one is."""
    began = time.monotonic()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return 0.0
    except BlockingIOError:
        other = {"holder": "another stage", "pid": "unknown"} | _read_holder(path)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise ArlError(f"{folder}: its file system has no locks ({error.strerror}), so stages cannot take turns on the "
                       "device: set ARL_WARM to a folder on a disk of this node") from error  # fmt: skip
    mark = os.path.join(folder, f"waiting-{os.getpid()}")
    open(mark, "w").close()
    try:
        note(f"{holder}: waiting for the device, which {other['holder']} (pid {other['pid']}) has")
        fcntl.flock(file, fcntl.LOCK_EX)
        return time.monotonic() - began
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
