"""What `arl warm status` shows: the workers of a run, what each is doing, and who has the device."""

from typing import Any

from arl.runtime.console import stdout_console
from arl.runtime.lease import read_lease
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm.control import folder_of
from arl.runtime.warm.identity import identity
from arl.runtime.warm.start import ask, read_worker


def read_status(warm: str | None) -> dict[str, Any]:
    """{"workers": [{"stage", "state", and what the worker says of itself}], "lease": as `read_lease`}."""
    folder = folder_of(warm)
    workers = []
    for stage in CAN_BE_WARM:
        if read_worker(folder, stage) is not None:
            answer = ask(folder, stage)
            workers.append({"stage": stage, "state": state_of(answer), **(answer or {})})
    return {"workers": workers, "lease": read_lease(folder)}


def state_of(answer: dict[str, Any] | None) -> str:
    """What the worker's answer means, in one word or two."""
    if answer is None:
        return "hung"
    if answer["identity"] != identity():
        return "outdated"
    return f"busy with pid {answer['busy']}" if answer["busy"] else "idle"


def show(status: dict[str, Any]) -> None:
    """The table that a person reads."""
    from rich.table import Table

    table = Table("stage", "state", "pid", "jobs", "memory MB")
    for row in status["workers"]:
        table.add_row(*(str(row.get(name, "")) for name in ("stage", "state", "pid", "jobs", "memory_mb")))
    console = stdout_console()
    console.print(table)
    console.print(describe(status["lease"]))


def describe(lease: dict[str, Any]) -> str:
    """One line about the device lease."""
    if lease["holder"] is None:
        return "device: free"
    waiting = f"; {lease['waiting']} waiting" if lease["waiting"] else ""
    seconds = f"for {lease['held_s']:.1f} s, after a wait of {lease['waited_s']:.1f} s"
    return f"device: {lease['holder']} (pid {lease['pid']}) {seconds}{waiting}"
