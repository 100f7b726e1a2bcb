"""Where the workers of a run are: STAGE.json and STAGE.sock in the warm folder, written by the worker itself.

The folder is `--warm`, else ARL_WARM, else `.arl/warm`; ARL_WARM set to nothing means that there is none. It has mode
0700. A worker whose process is gone is treated as absent. Light: no pathlib, no typer, no typing,
json where it is used.
"""

from __future__ import annotations

import os

from arl.runtime.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = ".arl/warm"
ENVIRONMENT = "ARL_WARM"


def warm_folder(given: str | None = None) -> str | None:
    """The absolute path of the warm folder, or None when ARL_WARM is set to nothing."""
    folder = given or os.environ.get(ENVIRONMENT, FOLDER)
    return os.path.abspath(folder) if folder else None


def make_folder(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o700)


def socket_name(stage: str) -> str:
    return f"{stage}.sock"


def log_path(folder: str, stage: str) -> str:
    return os.path.join(folder, f"{stage}.log")


def read_worker(folder: str, stage: str) -> dict[str, Any] | None:
    """{"pid", "started", "identity"} of the stage's worker, or None when there is none alive."""
    import json

    try:
        with open(os.path.join(folder, f"{stage}.json")) as stream:
            worker = json.load(stream)
        return worker if start_time(worker["pid"]) == worker["started"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_worker(folder: str, stage: str, identity: str) -> None:
    """Says that this process is the stage's worker; atomic."""
    import json

    path = os.path.join(folder, f"{stage}.json")
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as stream:
        json.dump({"pid": os.getpid(), "started": start_time(os.getpid()), "identity": identity}, stream)
    os.replace(temporary, path)


def forget_worker(folder: str, stage: str, pid: int) -> None:
    """Removes the traces of the stage's worker if they are those of `pid`."""
    import json

    path = os.path.join(folder, f"{stage}.json")
    try:
        with open(path) as stream:
            if json.load(stream)["pid"] != pid:
                return
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in (path, os.path.join(folder, socket_name(stage))):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue
