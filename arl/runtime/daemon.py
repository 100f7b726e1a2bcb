"""A resident process, the engine's server or a warm worker: where it is, one starter at a time, its log, its end.

Its folder has mode 0700. NAME.json (mode 0600) says where the process is: its pid, its start time and what its owner
adds. NAME.log is its output, NAME.lock is held by whoever starts or stops it. A pid is reused; a pid with its start
time is not, so a record whose process is gone counts as absent; so does one whose process does not hold this folder's
log open, as in a copied folder. The process is a session of its own: signals to its
starter do not reach it, and its children are found even after its death. Linux only. Left out: what it does.

    daemon = Daemon(folder, "engine", "the engine")
    with daemon.lock():
        process = daemon.spawn("arl.engine.serve", flags)
        daemon.wait_until(is_ready, process.pid, start_time(process.pid) or 0, deadline)
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from arl.errors import ArlError
from arl.runtime.private import check_private, is_own_file, make_private
from arl.runtime.process import start_time, stat_fields

LOG_LINES = 20  # of the log that an error shows
LOCK_S = 600.0  # until a starter that another one keeps waiting gives up
OWN_WORDS = "arl: "  # how a line of the log begins that is meant for who started the process
LINE_LENGTH = 400  # characters; SGLang prints its four hundred arguments in one line


@dataclass(frozen=True)
class Daemon:
    """The resident process `name` of a folder, whether or not it runs. title: how messages call it."""

    folder: Path
    name: str
    title: str

    @property
    def record_path(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    def make_folder(self) -> None:
        """Makes the folder, mode 0700. ArlError where others can write to it, or to what it lies in."""
        make_private(self.folder)

    def last(self) -> dict[str, Any] | None:
        """What the record says, whether or not the process still runs; ValueError when it is not readable.

        ArlError where others can write to the folder, or to what it lies in.
        """
        try:
            with open(self.record_path, opener=_without_links) as stream:
                check_private(self.folder)
                if not is_own_file(stream.fileno()):
                    raise ValueError("it is not a file of this user's own")
                record = json.load(stream)
        except FileNotFoundError:
            return None
        except (OSError, RecursionError) as error:
            raise ValueError(str(error)) from error
        if not isinstance(record, dict) or not all(_is_count(record.get(name)) for name in ("pid", "started")):
            raise ValueError("no pid and start time")
        return record

    def runs(self, record: Mapping[str, Any]) -> bool:
        """Whether the record's process still runs and is the one of this folder."""
        return is_running(record) and self.is_process(record["pid"])

    def is_process(self, pid: int) -> bool:
        """Whether the process, or what it was started by, was started here: it has this folder's log open."""
        try:
            log = os.lstat(self.log_path)
            opened = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            return False
        return any(_is_file(f"/proc/{pid}/fd/{name}", log) for name in sorted(opened, key=int))

    def write(self, record: Mapping[str, Any]) -> None:
        """Says where the process is. record: "pid", "started" and what the owner wants. Atomic, mode 0600."""
        temporary = self.folder / f".{self.name}.json.{os.getpid()}"
        with open(temporary, "w", opener=_private) as stream:
            json.dump(record, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.record_path)

    def forget(self, pid: int) -> bool:
        """Removes the record if it is that of `pid`; whether it was."""
        record = self.last()
        if record is None or record["pid"] != pid:
            return False
        self.record_path.unlink(missing_ok=True)
        return True

    @contextmanager
    def lock(self, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """One starter at a time; the kernel drops the lock when its holder dies. waiting: called where one has it.

        ArlError when it still has it after LOCK_S.
        """
        check_private(self.folder)
        path, deadline, told = self.folder / f"{self.name}.lock", time.monotonic() + LOCK_S, False
        with open(path, "a") as handle:
            while not _locked(handle):
                if not told:
                    waiting()
                    told = True
                if time.monotonic() > deadline:
                    raise ArlError(f"{path}: another process starts or stops {self.title} for {LOCK_S:.0f} s; end it")
                time.sleep(0.02)
            yield

    def spawn(
        self,
        module: str,
        arguments: Sequence[str],
        stdin: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Starts `python -m module` detached, as a session of its own, with both outputs in a new log (mode 0600)."""
        with open(self.log_path, "wb", opener=_private) as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=stdin, stdout=log, stderr=log, env=env, start_new_session=True,
            )  # fmt: skip

    def wait_until(
        self,
        is_ready: Callable[[], bool],
        pid: int,
        started: int,
        deadline: float,
        pause_s: float = 0.02,
        secret: str = "",
        is_whole: Callable[[], bool] = lambda: True,
    ) -> None:
        """Returns when `is_ready()`. ArlError with the log's end, without `secret`, when the process ends before, when
        `is_whole()` says that a part of it has, or when `deadline` (time.monotonic()) passes. Where the process has
        said itself why it ends, in a last line "arl: …", the error is that line."""
        while not is_ready():
            if start_time(pid) != started or not is_whole():
                if (reason := self._last_line()).startswith(OWN_WORDS):
                    raise ArlError(f"{self.title}: {reason.removeprefix(OWN_WORDS)} (log: {self.log_path})")
                raise ArlError(f"{self.title} ended while starting; {self._log_end(secret)}")
            if time.monotonic() > deadline:
                raise ArlError(f"{self.title} did not answer in time; {self._log_end(secret)}")
            time.sleep(pause_s)

    def _last_line(self) -> str:
        return (self.log_path.read_text(errors="replace").splitlines() or [""])[-1]

    def _log_end(self, secret: str) -> str:
        text = self.log_path.read_text(errors="replace")
        lines = (text.replace(secret, "...") if secret else text).splitlines()[-LOG_LINES:]
        return f"the end of {self.log_path}:\n" + "\n".join(f"  {line[:LINE_LENGTH]}" for line in lines)


def is_running(record: Mapping[str, Any]) -> bool:
    """Whether the process of a record still runs."""
    return start_time(record["pid"]) == record["started"]


def session_members(session: int) -> list[int]:
    """Pids of the living processes of a session."""
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields is not None and fields[0] != "Z" and int(fields[3]) == session:
                members.append(int(name))
    return members


def end(members: Callable[[], Sequence[int]], grace_s: float) -> None:
    """SIGTERM to the processes, SIGKILL to those left after `grace_s`; returns when there are none.

    members: the pids that are still there, asked for anew each time.
    """
    _signal(members(), signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while left := members():
        if time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
            deadline = time.monotonic() + 1.0  # again for what was forked meanwhile
        time.sleep(0.02)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_file(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except OSError:  # closed meanwhile
        return False
