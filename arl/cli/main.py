"""The `arl` command: one line per command here, the command itself in the module of its name.

Modules are light to import (no torch, no transformers), and only that of the command asked for is imported, so that
help starts at once; each imports what it computes with when it runs. Exit codes: 0 done, 1 failure, 2 usage, 130
interrupted.
"""

import importlib
import os
import signal
import sys

import typer

from arl import __version__
from arl.errors import ArlError
from arl.runtime.openmp import make_threads_patient

STAGES = "Stages, in the data's order"
AROUND = "Around the loop"
LOOK = "Looking inside"

COMMANDS = {  # name: (module, function, panel of the help)
    "data": ("arl.cli.data", "data", AROUND),
    "init": ("arl.cli.init", "init", AROUND),
    "encode": ("arl.cli.encode", "encode", STAGES),
    "rollout": ("arl.cli.rollout", "rollout", STAGES),
    "decode": ("arl.cli.decode", "decode", STAGES),
    "reward": ("arl.cli.reward", "reward", STAGES),
    "update": ("arl.cli.update", "update", STAGES),
    "sync": ("arl.cli.sync", "sync", STAGES),
    "mine": ("arl.cli.mine", "mine", AROUND),
    "train-token-asr": ("arl.cli.train_token_asr", "train_token_asr", AROUND),
    "eval": ("arl.cli.evaluate", "evaluate", AROUND),
    "eval-speech": ("arl.cli.evaluate_speech", "evaluate_speech", AROUND),
    "report": ("arl.cli.report", "report", AROUND),
    "export": ("arl.cli.export", "export", AROUND),
    "ls": ("arl.cli.inspect", "ls", LOOK),
    "cat": ("arl.cli.inspect", "cat", LOOK),
    "check": ("arl.cli.inspect", "check", LOOK),
}
GROUPS = {"engine": "arl.cli.engine", "warm": "arl.cli.warm"}  # their modules have an `app` of commands


def make_app(wanted: str | None = None) -> typer.Typer:
    """The whole command line, or only the command `wanted` where there is one of this name."""
    app = typer.Typer(
        name="arl",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Reinforcement learning of LLM-based speech recognition and synthesis, as composable stages.",
    )
    app.callback(invoke_without_command=True)(root)
    for name, (module, function, panel) in COMMANDS.items():
        if wanted == name or wanted not in {*COMMANDS, *GROUPS}:
            app.command(name, rich_help_panel=panel)(getattr(importlib.import_module(module), function))
    for name, module in GROUPS.items():
        if wanted == name or wanted not in {*COMMANDS, *GROUPS}:
            app.add_typer(importlib.import_module(module).app, name=name, rich_help_panel=AROUND)
    return app


def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main() -> None:
    """Runs the command line and turns expected failures into one line and an exit code."""
    make_threads_patient()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files and children are cleaned up
    try:
        make_app(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="arl")
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
