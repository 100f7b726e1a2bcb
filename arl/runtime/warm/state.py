"""Where the workers of a run are: STAGE.json and STAGE.sock in the warm folder, written by the worker itself.

The folder is `--warm`, else ARL_WARM, else `.arl/warm`; ARL_WARM set to nothing means that there is none. It has mode
0700. Light: every command line imports it, so no pathlib, no typing and no json; `start.py` reads the records.
"""

from __future__ import annotations

import os

FOLDER = ".arl/warm"
ENVIRONMENT = "ARL_WARM"


def warm_folder(given: str | None = None) -> str | None:
    """The absolute path of the warm folder, or None when ARL_WARM is set to nothing."""
    folder = given or os.environ.get(ENVIRONMENT, FOLDER)
    return os.path.abspath(folder) if folder else None


def socket_name(stage: str) -> str:
    return f"{stage}.sock"


def record_path(folder: str, stage: str) -> str:
    """Where the stage's worker says that it is there."""
    return os.path.join(folder, f"{stage}.json")
