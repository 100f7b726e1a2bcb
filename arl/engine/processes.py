"""What is known of SGLang's processes beyond pids: what they are called, and the files they leave in shared memory.

The engine is a session of its own, so its children are found even after their parent died. Linux only, like SGLang.
"""

from pathlib import Path

from arl.runtime.daemon import end, session_members
from arl.runtime.process import start_time

LOADS = "/dev/shm/sglang_loads_"  # SGLang's load snapshots; a killed server leaves its file behind
OURS = ("sglang", "arl.engine.serve", "multiprocessing", "torch/_inductor")  # what the engine's processes are called


def end_session(session: int, grace_s: float = 5.0) -> None:
    """SIGTERM to every process of the session, SIGKILL to what is left after `grace_s`; returns when all are gone."""
    end(lambda: session_members(session), grace_s)


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


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
