"""The `arl` command: its commands come from the table in `arl.runtime.stages`, each from the module of its name.

Those modules are light to import (no torch, no transformers), and only that of the command asked for is imported, so
that help starts at once; each imports what it computes with when it runs. Exit codes: 0 done, 1 failure, 2 usage, 130
interrupted.
"""

import importlib
import os
import signal
import sys
from contextlib import suppress

import typer

from arl import __version__
from arl.cli.streams import Commands, drop_output
from arl.errors import ArlError, Terminated, of_system
from arl.runtime.openmp import make_threads_patient
from arl.runtime.stages import BY_NAME, COMMANDS, Command


def make_app(wanted: str | None = None) -> typer.Typer:
    """The whole command line, or only the command `wanted` where there is one of this name."""
    app = typer.Typer(
        name="arl",
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Reinforcement learning of LLM-based speech recognition and synthesis, as composable stages.",
    )
    app.callback(invoke_without_command=True)(root)
    for command in [BY_NAME[wanted]] if wanted in BY_NAME else COMMANDS:
        add(app, command)
    return app


def add(app: typer.Typer, row: Command) -> None:
    """Adds the command, or the group of commands, that a row of the table names."""
    found = getattr(importlib.import_module(row.module), row.function)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=row.name, rich_help_panel=row.panel, hidden=row.is_hidden)
    else:
        app.command(row.name, rich_help_panel=row.panel, hidden=row.is_hidden)(found)


def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def _terminate(*_: object) -> None:
    raise Terminated(143)


def main() -> None:
    """Runs the command line and turns expected failures into one line and an exit code."""
    make_threads_patient()
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files and children are cleaned up
    try:
        make_app(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="arl")
    except BrokenPipeError:  # `--help | head` closed the pipe: not a failure
        drop_output()
        sys.exit(0)
    except (ArlError, OSError) as error:
        if os.environ.get("ARL_DEBUG") == "1":
            raise
        told = error if isinstance(error, ArlError) else of_system(error)
        with suppress(OSError):  # nobody reads it
            print("arl:", str(told).replace("\n", " "), file=sys.stderr)
        sys.exit(told.exit_code)
    except KeyboardInterrupt:
        print("arl: interrupted", file=sys.stderr)
        sys.exit(130)
