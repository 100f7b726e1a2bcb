"""Processes by pid and start time, and this one's age, from /proc. Linux only. Light: every command line uses it."""

import os
import time


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (state, parent, group, session, …), or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process started; None when it is gone (a zombie counts as gone)."""
    fields = stat_fields(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def age_s() -> float:
    """Wall seconds since the kernel started this process."""
    started = (start_time(os.getpid()) or 0) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
