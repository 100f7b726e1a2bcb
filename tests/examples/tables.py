"""What tests of make's runs and tables have in common: a table's cells, make's plan, an end to what make started."""

import os
import subprocess
from pathlib import Path

from arl.engine import server
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm.start import stop

ROOT = Path(__file__).resolve().parents[2]


def cells(text: str, name: str) -> list[str]:
    """The row of a Markdown table that begins with `name`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def make(*words: str) -> "subprocess.CompletedProcess[str]":
    """make as a user calls it, whether or not the tests were begun by another make."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def planned(*words: str) -> str:
    """What make would run, a command a line."""
    done = make("-n", "-o", ".venv/arl.done", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", " ")


def stop_all(run: Path) -> None:
    """Ends the engine and the resident stages of a run's folder."""
    server.stop(run / "engine")
    for stage in CAN_BE_WARM:
        stop(str(run / "warm"), stage)
