"""How long a reward program may take for one utterance: a line after NOTE_S seconds, an ArlError after `--timeout`.

    with within("mine: no answer to line 3 (key 'a')", 600.0): ...    # a call in this process, by SIGALRM
    wait_for(poll, "mine: no answer to line 3 (key 'a')", 600.0)       # something that another process makes

Left out: a call into compiled code that never returns to Python, which no signal handler can end.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from arl.errors import ArlError
from arl.runtime.console import warn

NOTE_S = 10.0
TIMEOUT_S = 600.0  # the default: a program that loads a model does so for its first utterance
SLICE_S = 0.2  # between two looks at whether the other side has ended

Found = TypeVar("Found")


class _OverdueError(BaseException):
    """Raised inside the call by the signal handler; no `except Exception` of a program's holds it up."""


@contextmanager
def within(missing: str, timeout_s: float) -> Iterator[None]:
    """Ends the block with an ArlError beginning with `missing` after `timeout_s`; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    left_s = timeout_s - NOTE_S

    def alarm(*_: object) -> None:
        nonlocal left_s
        if left_s <= 0:
            raise _OverdueError
        warn(_still_waiting(missing, timeout_s))
        signal.setitimer(signal.ITIMER_REAL, left_s)
        left_s = 0

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, min(NOTE_S, timeout_s))
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    except _OverdueError:
        raise ArlError(_overdue(missing, timeout_s)) from None


def wait_for(poll: Callable[[float], Found | None], missing: str, timeout_s: float, overdue: str = "") -> Found:
    """What `poll(seconds)` gives when not None. ArlError after `timeout_s`: `overdue`, or `missing` and the time."""
    began, is_noted = time.monotonic(), False
    while True:
        waited_s = time.monotonic() - began
        if waited_s > timeout_s:
            raise ArlError(overdue or _overdue(missing, timeout_s))
        if waited_s > NOTE_S and not is_noted:
            is_noted = True
            warn(_still_waiting(missing, timeout_s))
        if (found := poll(min(SLICE_S, max(timeout_s - waited_s, 0)))) is not None:
            return found


def _still_waiting(missing: str, timeout_s: float) -> str:
    return f"{missing} for {NOTE_S:.0f} s: waiting, at most {timeout_s:g} s (--timeout)"


def _overdue(missing: str, timeout_s: float) -> str:
    return f"{missing} within {timeout_s:g} s (--timeout)"
