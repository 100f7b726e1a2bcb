"""`arl warm start|stop|status`: stages whose process stays resident, and who has the device.

While a stage is warm, the same command line is done by its worker, with the same output and the same result.
Left out: how a worker works (arl/runtime/warm/). Light to import.

    arl warm start update rollout
"""

import json as json_module
from typing import Annotated

import typer

from arl.cli import options
from arl.runtime.stages import CAN_BE_WARM

app = typer.Typer(no_args_is_help=True, help="Keep stages resident: no imports, no loading, per job.")

Folder = Annotated[
    str | None, typer.Option("--warm", envvar="ARL_WARM", help="Folder of the workers' sockets and logs.")
]
Which = Annotated[
    list[str] | None, typer.Argument(help=f"Of {', '.join(CAN_BE_WARM)}. Default: all.", show_default=False)
]


@app.command()
def start(stages: Which = None, warm: Folder = None) -> None:
    """Start resident workers, and wait until they take jobs. One that already runs is left alone.

    Example: arl warm start rollout reward update sync
    """
    from arl.runtime.warm.control import start_all

    start_all(warm, stages)


@app.command()
def stop(stages: Which = None, warm: Folder = None) -> None:
    """Stop resident workers, with the jobs they may be doing. Nothing to stop is not a failure.

    Example: arl warm stop
    """
    from arl.runtime.warm.control import stop_all

    stop_all(warm, stages)


@app.command()
def status(warm: Folder = None, json: options.Json = False) -> None:
    """Show the workers, and who has the device. Exit code 1 when no stage is warm.

    Example: arl warm status --json
    """
    from arl.runtime.warm.status import read_status, show

    found = read_status(warm)
    if json:
        print(json_module.dumps(found))
    else:
        show(found)
    if not found["workers"]:
        raise typer.Exit(1)
