"""`stage.jsonl`: a line for each shard that a stage has written. Everything that writes or reads one does it here.

append_record(out, StageRecord("rollout", "000003", 32, seconds, peak_memory_mb, figures={"groups": 32}))
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.errors import ArlError, reason_of
from arl.shards.provenance import provenance
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
    """Adds the line to the folder's `stage.jsonl` in one write under a lock, so that several processes may do so at
    once: on a network file system, too, as far as it has locks.

    The command line and the versions of packages come along. Behind a line that a full disk has cut it starts a new
    one.
    """
    line = json.dumps(record.to_json() | provenance(), ensure_ascii=False, sort_keys=True) + "\n"
    try:
        _append(folder / RECORD, line.encode())
    except OSError as error:
        raise ArlError(f"{folder / RECORD}: cannot be written ({reason_of(error)})") from error


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        write_all(descriptor, b"\n" * is_cut + line)
    finally:
        os.close(descriptor)


def read_record(folder: str | Path) -> list[dict[str, Any]]:
    """The last `stage.jsonl` line of each shard in `folder`, in the shards' order; [] when there is none.

    A line that a full disk has cut is passed over. ArlError for one that is whole and no record.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return []
    lines: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):  # only \n: a path may hold another separator
        entry = _entry(line)
        if entry is None:
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("shard"), str):
            raise ArlError(f"{path}:{number}: not a record of a stage (it names no shard); delete the line")
        lines[entry["shard"]] = entry
    return [lines[name] for name in sorted(lines)]


def _entry(line: bytes) -> Any:
    """A line's JSON, or what was written behind a cut one in the same line; None where nothing is whole."""
    start = 0
    while start >= 0 and line:
        try:
            return json.loads(line[start:])
        except (ValueError, RecursionError):
            start = line.find(b'{"', start + 1)
    return None
