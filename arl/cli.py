"""The `arl` command: one line per command here, the command itself in the module of its name.

Modules are light to import (no torch, no transformers), so that help starts at once; each imports what it
computes with when it runs. Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted.
"""

import os
import signal
import sys

import typer

from arl import __version__
from arl.data import data
from arl.encode import encode
from arl.engine_command import app as engine_app
from arl.errors import ArlError
from arl.evaluate import evaluate
from arl.export import export
from arl.init import init
from arl.inspect import cat, check, ls
from arl.report import report
from arl.reward_stage import reward
from arl.rollout import rollout
from arl.sync import sync
from arl.update import update

STAGES = "Stages, in the data's order"
AROUND = "Around the loop"
LOOK = "Looking inside"

app = typer.Typer(
    name="arl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None if os.environ.get("NO_COLOR") else "rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Reinforcement learning of LLM-based speech recognition and synthesis, as composable stages.",
)
for command, panel in (
    (data, AROUND), (init, AROUND), (encode, STAGES), (rollout, STAGES), (reward, STAGES), (update, STAGES),
    (sync, STAGES), (report, AROUND), (export, AROUND), (ls, LOOK), (cat, LOOK), (check, LOOK),
):  # fmt: skip
    app.command(command.__name__, rich_help_panel=panel)(command)
app.command("eval", rich_help_panel=AROUND)(evaluate)
app.add_typer(engine_app, name="engine", rich_help_panel=AROUND)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main() -> None:
    """Runs the command line and turns expected failures into one line and an exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files and children are cleaned up
    try:
        app()
    except ArlError as error:
        if os.environ.get("ARL_DEBUG") == "1":
            raise
        print(f"arl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("arl: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `| head` closed the pipe: not a failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
