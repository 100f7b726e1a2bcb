"""`arl warm start|stop|status`: stages whose process stays resident, and who has the device.

While a stage is warm, the same command line is done by its worker, with the same output and the same result.
Left out: how a worker works (arl/runtime/warm/). Light to import.

    arl warm start update rollout
"""

import json as json_module
import time
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
    from concurrent.futures import ThreadPoolExecutor

    from arl.runtime.console import note
    from arl.runtime.warm.start import start as start_worker

    folder, began = folder_of(warm), time.monotonic()
    chosen = checked(stages)
    with ThreadPoolExecutor(len(chosen)) as pool:
        started = list(pool.map(lambda stage: start_worker(folder, stage), chosen))
    new = [stage for stage, is_new in zip(chosen, started, strict=True) if is_new]
    note(f"warm: {' '.join(new) or 'nothing'} started in {time.monotonic() - began:.1f} s ({folder})")


@app.command()
def stop(stages: Which = None, warm: Folder = None) -> None:
    """Stop resident workers, with the jobs they may be doing. Nothing to stop is not a failure.

    Example: arl warm stop
    """
    from arl.runtime.console import note
    from arl.runtime.warm.start import stop as stop_worker

    folder = folder_of(warm)
    stopped = [stage for stage in checked(stages) if stop_worker(folder, stage)]
    note(f"warm: {' '.join(stopped) or 'nothing'} stopped")


@app.command()
def status(warm: Folder = None, json: options.Json = False) -> None:
    """Show the workers, and who has the device. Exit code 1 when no stage is warm.

    Example: arl warm status --json
    """
    from arl.runtime.lease import read_lease
    from arl.runtime.warm.start import ask, read_worker

    folder = folder_of(warm)
    rows = []
    for stage in CAN_BE_WARM:
        if read_worker(folder, stage) is not None:
            answer = ask(folder, stage)
            rows.append({"stage": stage, "state": state_of(answer), **(answer or {})})
    lease = read_lease(folder)
    if json:
        print(json_module.dumps({"workers": rows, "lease": lease}))
    else:
        show(rows, lease)
    if not rows:
        raise typer.Exit(1)


def state_of(answer: dict | None) -> str:
    """What the worker's answer means, in one word or two."""
    from arl.runtime.warm.identity import identity

    if answer is None:
        return "hung"
    if answer["identity"] != identity():
        return "outdated"
    return f"busy with pid {answer['busy']}" if answer["busy"] else "idle"


def show(rows: list[dict], lease: dict) -> None:
    """The table that a person reads."""
    from rich.table import Table

    from arl.runtime.console import stdout_console

    table = Table("stage", "state", "pid", "jobs", "memory MB")
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in ("stage", "state", "pid", "jobs", "memory_mb")))
    console = stdout_console()
    console.print(table)
    console.print(describe(lease))


def describe(lease: dict) -> str:
    """One line about the device lease."""
    if lease["holder"] is None:
        return "device: free"
    waiting = f"; {lease['waiting']} waiting" if lease["waiting"] else ""
    seconds = f"for {lease['held_s']:.1f} s, after a wait of {lease['waited_s']:.1f} s"
    return f"device: {lease['holder']} (pid {lease['pid']}) {seconds}{waiting}"


def folder_of(warm: str | None) -> str:
    """The warm folder. UsageError where ARL_WARM is set to nothing."""
    from arl.errors import UsageError
    from arl.runtime.warm.state import warm_folder

    folder = warm_folder(warm)
    if folder is None:
        raise UsageError("ARL_WARM is set to nothing, which means cold stages; unset it or give --warm")
    return folder


def checked(stages: list[str] | None) -> list[str]:
    """The stages asked for, each once. UsageError for one that cannot be warm."""
    from arl.errors import UsageError

    unknown = [stage for stage in stages or () if stage not in CAN_BE_WARM]
    if unknown:
        raise UsageError(f"{unknown[0]} is no stage that can be warm: one of {', '.join(CAN_BE_WARM)}")
    return list(dict.fromkeys(stages or CAN_BE_WARM))
