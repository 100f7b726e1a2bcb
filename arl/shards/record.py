"""`stage.jsonl`: a line for each shard that a stage has written. Everything that writes or reads one does it here.

append_record(out, StageRecord("rollout", "000003", 32, seconds, peak_memory_mb, figures={"groups": 32}))
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.writer import write_all

RECORD = "stage.jsonl"


@dataclass(frozen=True)
class StageRecord:
    """What a stage says of one shard that it has written.

    samples: rows of the shard. seconds: wall seconds by phase (load, wake, run, sleep, write). peak_memory_mb: of the
    process, in MB (1e6 bytes). policy: the version it was made with. fingerprint: the shard's, from its end marker.
    arguments: all that change the result. sources: the input folders, relative to this one. figures: the stage's own.
    """

    stage: str
    shard: str
    samples: int
    seconds: Mapping[str, float]
    peak_memory_mb: float
    policy: str | None = None
    fingerprint: str | None = None
    arguments: Mapping[str, Any] | None = None
    sources: Sequence[str] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields of the line; `fingerprint` is called "made" there."""
        line = {
            "stage": self.stage, "shard": self.shard, "samples": self.samples, "policy": self.policy,
            "seconds": dict(self.seconds), "peak_memory_mb": round(self.peak_memory_mb, 1), **self.figures,
        }  # fmt: skip
        optional = {"made": self.fingerprint, "arguments": self.arguments, "sources": self.sources}
        return line | {name: value for name, value in optional.items() if value is not None}


def append_record(folder: Path, record: StageRecord) -> None:
    """Adds the line to the folder's `stage.jsonl` in one write, so that several processes may do so at once."""
    line = json.dumps(record.to_json(), ensure_ascii=False, sort_keys=True) + "\n"
    descriptor = os.open(folder / RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        write_all(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read_record(folder: str | Path) -> list[dict[str, Any]]:
    """The last `stage.jsonl` line of each shard in `folder`, in the shards' order; [] when there is none."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return []
    lines: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):  # only \n: a path may hold another separator
        if not line:
            continue
        try:
            entry = json.loads(line)
            lines[entry["shard"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise ArlError(f"{path}:{number}: not a record of a stage ({error!r}); delete the line") from error
    return [lines[name] for name in sorted(lines)]
