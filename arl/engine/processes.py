"""Processes by pid, start time and session, read from /proc: is the engine the one we started, is all of it gone?

A pid is reused; a pid with its start time is not. The engine is a session of its own (setsid), so its
children are found even after their parent died. Linux only, like SGLang.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from arl.runtime.process import start_time, stat_fields

__all__ = ["end_session", "is_orphaned", "load_files", "session_members", "start_time"]

LOADS = "/dev/shm/sglang_loads_"  # SGLang's load snapshots; a killed server leaves its file behind

OURS = ("sglang", "arl.engine.serve", "multiprocessing", "torch/_inductor")  # what the engine's processes are called


def session_members(session: int) -> list[int]:
    """Pids of the living processes of a session."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat_fields(int(entry.name))
            if fields is not None and fields[0] != "Z" and int(fields[3]) == session:
                members.append(int(entry.name))
    return members


def is_orphaned(session: int) -> bool:
    """Whether the session's leader is gone but engine processes of it live on. The number of a session that is
    wholly gone can be taken by a stranger, so a living leader or any other program means that it is not ours."""
    if start_time(session) is not None:
        return False
    commands = [_command(pid) for pid in session_members(session)]
    # An empty command line is a process that is just ending.
    return bool(commands) and all(not command or any(part in command for part in OURS) for command in commands)


def load_files(session: int) -> list[str]:
    """The load-snapshot files in shared memory that the session's processes hold."""
    found: set[str] = set()
    for pid in session_members(session):
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError:  # it ended meanwhile
            continue
        found.update(line[line.index(LOADS) :].split(" (")[0] for line in maps.splitlines() if LOADS in line)
    return sorted(found)


def end_session(session: int, grace_s: float = 5.0) -> None:
    """SIGTERM to every process of the session, SIGKILL to what is left after `grace_s`; returns when all are gone."""
    _signal_all(session, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while _alive(session):
        if time.monotonic() > deadline:
            _signal_all(session, signal.SIGKILL)
            deadline = time.monotonic() + 1.0  # again for what was forked meanwhile
        time.sleep(0.05)


def _alive(session: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(session, os.WNOHANG)  # when it is our own child, it stays a zombie until we look
    return bool(session_members(session))


def _signal_all(session: int, number: int) -> None:
    for pid in session_members(session):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
