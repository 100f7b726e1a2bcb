"""What is known of SGLang's processes beyond pids: what they are called, and the files they leave in shared memory.

The engine is a session of its own, so its children are found even after their parent died. Linux only, like SGLang.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from arl.errors import ArlError
from arl.runtime.daemon import Daemon, end, session_members
from arl.runtime.process import start_time, stat_fields

SHARED = "/dev/shm"
LOADS = f"{SHARED}/sglang_loads_"  # SGLang's load snapshots; a killed server leaves its file behind
TEMPORARY = "arl-"  # how the temporary folders of engines begin
ROOTS = "embedding-roots"  # the file there that lists the folders whose shards the engine may read, a JSON text each
MARK = "of-engine"  # the file in a temporary folder that names the state folder
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
LONGEST_PLACE = 50  # bytes, which leaves 57 of an address for the names of folder and socket
SCHEDULER = "sglang::scheduler"  # what SGLang's scheduler calls itself, once it runs


def end_session(session: int, grace_s: float = 5.0) -> None:
    """SIGTERM to every process of the session, SIGKILL to what is left after `grace_s`; returns when all are gone."""
    end(lambda: session_members(session), grace_s)


def is_orphaned(session: int, engine: Daemon) -> bool:
    """Whether the session's leader is gone but processes of this engine live on in it. The number of a session that
    is wholly gone can be taken by a stranger, so a living leader means that it is not ours."""
    return start_time(session) is None and any(engine.is_process(pid) for pid in session_members(session))


def stopped_members(session: int) -> list[int]:
    """Pids of the session's processes that are stopped (SIGSTOP, a debugger)."""
    states = {pid: stat_fields(pid) for pid in session_members(session)}
    return [pid for pid, fields in states.items() if fields is not None and fields[0] in "Tt"]


def check_shared_memory() -> None:
    """ArlError where the engine's processes could not share memory: SGLang would wait for a child that has died."""
    try:
        with tempfile.TemporaryFile(dir=SHARED) as probe:
            probe.write(bytes(1 << 16))
            probe.flush()
    except OSError as error:
        raise ArlError(
            f"{SHARED}: {error.strerror}: the engine's processes share memory there; mount it, "
            f"for example: mount -t tmpfs tmpfs {SHARED}"
        ) from error


def make_temporary(folder: Path) -> Path:
    """A new folder for the server's sockets, marked as that of the engine of this state folder.

    A Unix address has 107 bytes: where TMPDIR is longer than leaves room for a name, another place is taken.
    """
    places = [tempfile.gettempdir(), *SHORT_PLACES]
    short = [place for place in places if len(os.fsencode(place)) <= LONGEST_PLACE and os.access(place, os.W_OK)]
    if not short:
        raise ArlError(f"TMPDIR={places[0]}: too long for a socket's address; set TMPDIR to a folder of a short name")
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=short[0]))
    (temporary / MARK).write_text(_mark_of(folder))
    (temporary / ROOTS).touch()
    return temporary


def remove_left(folder: Path, temporary: Path, shared_memory: Sequence[str]) -> None:
    """Removes what the engine of this state folder has left: its temporary folder and its load snapshots.

    Nothing, where the temporary folder is not marked as this engine's: a copied or forged engine.json names others'.
    """
    if not _is_marked(temporary, folder):
        return
    for path in shared_memory:
        if re.fullmatch(rf"{LOADS}[\w.-]+", path):
            Path(path).unlink(missing_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)


def _is_marked(temporary: Path, folder: Path) -> bool:
    mark = temporary / MARK
    try:
        is_own = temporary.lstat().st_uid == os.geteuid() and stat.S_ISREG(mark.lstat().st_mode)
        return is_own and temporary.name.startswith(TEMPORARY) and mark.read_text() == _mark_of(folder)
    except (OSError, ValueError):
        return False


def _mark_of(folder: Path) -> str:
    """Names a folder, wherever it is moved to; a copy of it has another."""
    found = os.stat(folder)
    return f"{found.st_dev}:{found.st_ino}"


class SchedulerWatch:
    """Whether a scheduler of the session has ended: SGLang's HTTP process can outlive it while both start.

    What a scheduler starts has its name until it runs a program of its own, so a scheduler's child is none."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._seen: set[int] = set()

    def is_whole(self) -> bool:
        """False once a scheduler that was seen is gone."""
        living = session_members(self._session)
        named = {pid for pid in living if SCHEDULER in _command(pid)}
        self._seen |= {pid for pid in named if _parent(pid) not in {None, *named}}
        return self._seen <= set(living)


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


def _parent(pid: int) -> int | None:
    fields = stat_fields(pid)
    return None if fields is None else int(fields[1])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return ""
