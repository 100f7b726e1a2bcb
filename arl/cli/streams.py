"""Ordinary trouble with files and streams, in one place: a full disk is one line, and `| head` is no failure.

    app = typer.Typer(cls=Commands)

An OSError that nothing has said more about becomes an ArlError before typer, which ends the process by some of them
without a word. Of several processes with one command line the first says what is wrong with it. Left out: what stages
say themselves, with the shard or the sample.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from arl.errors import ArlError, of_system, reason_of
from arl.runtime.ranks import launched

WRONG_FLAGS: Any = typer.BadParameter.__base__  # click's UsageError, from the package that this typer has it from


class Commands(TyperGroup):
    """The commands: what one has printed has left when it ends, and its OSErrors are expected failures."""

    def invoke(self, ctx: Any) -> Any:
        with closed_pipe_is_success():
            try:
                with _flushed():
                    return super().invoke(ctx)
            except BrokenPipeError as error:
                if _is_read():
                    raise of_system(error) from error  # another pipe's
                raise
            except OSError as error:
                raise of_system(error) from error
            except WRONG_FLAGS as error:
                if launched()[0]:  # the first process has the same command line, and says what is wrong with it
                    raise typer.Exit(2) from error
                raise
            except EOFError as error:  # typer would say "Aborted."
                raise ArlError(f"a file ends before its content does ({error})") from error


@contextmanager
def closed_pipe_is_success() -> Iterator[None]:
    """Ends the command with exit code 0 when the reader of stdout has gone (`| head`); typer would make it 1."""
    try:
        yield
        _flush()
    except BrokenPipeError as error:
        drop_output()
        raise typer.Exit(0) from error


@contextmanager
def _flushed() -> Iterator[None]:
    """Standard output's last bytes leave here, and not when the interpreter ends, where a failure is a page."""
    try:
        yield
    except typer.Exit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise ArlError(f"standard output: {reason_of(error)}") from error


def drop_output() -> None:
    """What is still buffered has nowhere to go; the interpreter would complain about it on its way out."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _is_read() -> bool:
    """Whether somebody can still read standard output: then a broken pipe is another one."""
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return not any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in poll.poll(0))
