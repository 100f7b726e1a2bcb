"""Everything a person sees on stderr: notes and progress, decided in one place.

Progress is drawn only on a terminal; `NO_COLOR`, `TERM=dumb` and a pipe are honoured. Data never goes here.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PIPE_WIDTH = 100_000  # characters; rich would break lines at 80

_is_hushed = False  # this process is one of several that do the same, and another one speaks


def hush() -> None:
    """From here on neither notes nor warnings nor progress of this process are shown."""
    global _is_hushed
    _is_hushed = True


def note(message: str) -> None:
    """One line to stderr about what was done; `ARL_QUIET=1` leaves it out."""
    if os.environ.get("ARL_QUIET") != "1" and not _is_hushed:
        _tell(message)


def warn(message: str) -> None:
    """One line to stderr about what went wrong and was survived."""
    if not _is_hushed:
        _tell(f"arl: {message}")


def _tell(line: str) -> None:
    with suppress(OSError):  # a full or closed log is no reason to stop
        print(line, file=sys.stderr, flush=True)


def is_interactive() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    return not _is_hushed and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def stderr_console() -> Any:
    """A rich console on stderr."""
    return _console(stderr=True)


def stdout_console() -> Any:
    """A rich console on stdout, for tables that a person reads; in a pipe its lines are as long as they want."""
    return _console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _console(**options: Any) -> Any:
    from rich.console import Console

    return Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False, **options)


class Progress:
    """What `progress` yields: `advance(n, text)` moves the bar and shows a short status behind it."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def advance(self, n: float = 1, status: str = "") -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=n, status=status)


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Progress]:
    """A progress bar with elapsed and remaining time on a terminal; silent in a pipe."""
    if not is_interactive():
        yield Progress()
        return
    from rich import progress as rich

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    extra = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn(), rich.TextColumn("{task.fields[status]}"))
    with rich.Progress(*columns, *extra, console=stderr_console(), transient=True) as bar:
        yield Progress(bar, bar.add_task(description, total=total, status=""))


@contextmanager
def status_line(text: str) -> Iterator[Callable[[str], object]]:
    """A line that is redrawn on a terminal; silent in a pipe. Yields what changes its text."""
    if not is_interactive():
        yield lambda text: None
        return
    with stderr_console().status(text) as line:
        yield line.update
