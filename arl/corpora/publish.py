"""The output folder of `arl data`: shards appear in it all at once or not at all.

Everything is written to a hidden folder inside OUT; when it is complete and checked, the earlier shards of `arl data`
there are removed and the new ones moved into place, `data.json` last. Only shards that `arl data` has written are ever
replaced. One `arl data` at a time works on a folder: it holds a lock (flock) on it, so that what a killed one left
behind is known to be nobody's.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.marker import read_marker

RECORD = "data.json"
MADE = "data-"  # how the fingerprint in our shards' end markers starts
PART = ".part-"


def is_current(out: Path, made: str) -> dict[str, Any] | None:
    """The record of what `out` holds, if that was made as `made` says and is whole; else None."""
    record = _record(out)
    if record is None or record.get("made") != made:
        return None
    for name in record["shards"]:
        marker = read_marker(out / name)
        if marker is None or marker.made != made:
            return None
    return record


def _record(out: Path) -> dict[str, Any] | None:
    """None: no record, as before the first run."""
    try:
        record = json.loads((out / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("shards"), list) else None


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """An empty folder inside `out`, which is made and locked; removed at the end, with all that is still in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ArlError(f"{out}: is a file; --out is a folder") from error
    lock = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArlError(f"{out}: another `arl data` is writing to it") from error
        for left in out.glob(f"{PART}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=out, prefix=PART) as folder:
            yield Path(folder)
    finally:
        os.close(lock)
        with suppress(OSError):  # not empty, as it should be: a failure leaves no empty folder behind
            out.rmdir()


def require_ours(out: Path, folders: Sequence[str]) -> None:
    """Raises ArlError when a shard in one of the folders (paths inside `out`) was not written by `arl data`."""
    recorded = _recorded(out)
    for shard in _replaced(out, folders):
        marker = read_marker(shard)
        # one of ours that was cut is known by the record only
        if not (marker.made.startswith(MADE) if marker else shard in recorded):
            raise ArlError(f"{shard}: not written by arl data, and would be replaced; choose another --out")


def publish(staged: Path, out: Path, folders: Sequence[str], record: dict[str, Any]) -> None:
    """Move the files of `staged` to the same places in `out`, in place of earlier ones; `record` becomes data.json.

    Killed in between, `out` is seen to be incomplete by its old record, and the next run clears it up.
    """
    require_ours(out, folders)
    for name in ("splits.json", "LICENSE.txt"):
        (out / name).unlink(missing_ok=True)
    for old in _replaced(out, folders):
        old.unlink()
        (old.parent / "stage.jsonl").unlink(missing_ok=True)
    for file in sorted(path for path in staged.rglob("*") if path.is_file()):
        target = out / file.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    temporary = out / f".{RECORD}.new"
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    temporary.replace(out / RECORD)


def _replaced(out: Path, folders: Sequence[str]) -> list[Path]:
    """The shards in `out` that a new corpus replaces: those in its folders, and those that the last record names."""
    found = _recorded(out) | {path for folder in folders for path in (out / folder).glob("*.tar")}
    return sorted(path for path in found if path.is_file())


def _recorded(out: Path) -> set[Path]:
    record = _record(out)
    return {out / name for name in record["shards"]} if record else set()
