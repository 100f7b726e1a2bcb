"""Measuring: CPU seconds, wall seconds and peak memory of a piece of work, and medians with their spread.

CPU seconds are user + system time of all threads: on a shared machine they are what repeats. Sides of a comparison
are run in turn, the order reversed every time, and a ratio is taken within each turn. Peak memory is measured in a
forked child, whose high-water mark starts at what its parent holds. Left out: what is measured.

    turns = interleaved({"rows": rows, "shared": shared}, repeats=5); ratio = ratios(turns, "rows", "shared", "cpu_s")
"""

import ctypes
import os
import pickle
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

Figures = dict[str, float]
FORK_LIMIT_S = 300


class Stopwatch:
    """`with Stopwatch() as watch: …`; then watch.cpu_s and watch.wall_s, of this process and the `engine` session."""

    def __init__(self, session: int | None = None) -> None:
        self.session = session
        self.cpu_s = self.wall_s = 0.0

    def __enter__(self) -> "Stopwatch":
        self._start = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        cpu, wall = self._now()
        self.cpu_s, self.wall_s = cpu - self._start[0], wall - self._start[1]

    def _now(self) -> tuple[float, float]:
        other = session_cpu_s(self.session) if self.session else 0.0
        return time.process_time() + other, time.monotonic()

    @property
    def figures(self) -> Figures:
        return {"cpu_s": self.cpu_s, "wall_s": self.wall_s}


def session_cpu_s(session: int) -> float:
    """CPU seconds so far of the living processes of a session and of the children they have waited for."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], Any], session: int | None = None) -> Figures:
    """{"cpu_s", "wall_s"} of one call."""
    with Stopwatch(session) as watch:
        work()
    return watch.figures


def interleaved(sides: Mapping[str, Callable[[], Figures]], repeats: int) -> list[dict[str, Figures]]:
    """Each turn runs every side once, forwards and backwards alternately; [repeats] of {side: its figures}."""
    turns = []
    for turn in range(repeats):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        found = {name: sides[name]() for name in order}
        turns.append({name: found[name] for name in sides})
    return turns


def spread(values: Sequence[float]) -> Figures:
    """{"median", "low", "high", "n"}."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def column(turns: Sequence[Mapping[str, Figures]], side: str, name: str) -> Figures:
    """The spread of one figure of one side over the turns."""
    return spread([turn[side][name] for turn in turns])


def ratios(turns: Sequence[Mapping[str, Figures]], above: str, below: str, name: str = "cpu_s") -> Figures:
    """The spread of above / below, taken within each turn."""
    return spread([turn[above][name] / turn[below][name] for turn in turns])


def peak_memory_mb(work: Callable[[], Any]) -> float:
    """What `work` adds to the resident memory at its highest, in MB (1e6 bytes), in a forked child on one thread.

    RuntimeError with the child's traceback when `work` fails, or when it takes longer than FORK_LIMIT_S.
    """
    ctypes.CDLL(None).malloc_trim(0)  # free heap that the child could fill unseen
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        signal.alarm(FORK_LIMIT_S)
        try:
            with os.fdopen(writing, "wb") as stream:
                try:
                    answer = (_peak(work), "")
                except BaseException:
                    answer = (0.0, traceback.format_exc())
                pickle.dump(answer, stream)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    os.waitpid(child, 0)
    value, failure = pickle.loads(content) if content else (0.0, "the child was killed")
    if failure:
        raise RuntimeError(failure)
    return value


def _peak(work: Callable[[], Any]) -> float:
    if "torch" in sys.modules:  # a pool of threads does not survive a fork: waiting for it would be for ever
        sys.modules["torch"].set_num_threads(1)
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    work()
    return (_status_kb("VmHWM") - before) * 1024 / 1e6


def _status_kb(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {name}")
