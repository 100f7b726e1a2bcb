"""`stage.jsonl`: a line for each shard that a stage has written."""

import json
from pathlib import Path
from typing import Any

from arl.errors import ArlError

RECORD = "stage.jsonl"


def read_record(folder: str | Path) -> list[dict[str, Any]]:
    """The last `stage.jsonl` line of each shard in `folder`, in the shards' order; [] when there is none."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return []
    lines: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            lines[entry["shard"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise ArlError(f"{path}:{number}: not a record of a stage ({error!r}); delete the line") from error
    return [lines[name] for name in sorted(lines)]
