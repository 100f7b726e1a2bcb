"""`os._exit` in a reward program that runs in arl's own process ends the program, not the stage.

It would end the process at once, with exit code 0 if the program says so, and no shard. `sys.exit` is an exception by
itself. Left out: a signal that a program sends to its own process, and a crash of compiled code.

    with exits_caught():
        function(utterance)     # SystemExit, be it by sys.exit or by os._exit
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exits_caught() -> Iterator[None]:
    """Inside the block `os._exit` raises SystemExit; in a forked child and in other threads it is what it was."""
    exit_now, process, thread = os._exit, os.getpid(), threading.get_ident()

    def leave(status: int) -> None:
        if (os.getpid(), threading.get_ident()) != (process, thread):
            exit_now(status)
        raise SystemExit(status)

    os._exit = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = exit_now
