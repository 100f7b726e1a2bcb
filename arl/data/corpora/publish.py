"""The output folder of `arl data` and `arl mine`: shards appear in it all at once or not at all.

Everything is written to a hidden folder inside OUT; when it is complete and checked, the command's earlier shards
there are removed and the new ones moved into place, its record (`data.json`) last. Only shards that the command has
written are ever replaced, and nothing outside OUT is, whatever a record or a link in it says. One at a time works on
a folder: it holds a lock (flock) on it, so that what a killed one left behind is known to be nobody's.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.durable import refuse_unwritable
from arl.shards.marker import read_marker
from arl.shards.record import RECORD

PART = ".part-"
SHARD = re.compile(r"(?:[\w+-]+/)?[0-9]{6,}\.tar")  # a shard of ours in `out` or a folder in it


@dataclass(frozen=True)
class Kind:
    """Whose folder it is. beside: the files that lie beside the folders of shards and are replaced with them."""

    command: str
    beside: tuple[str, ...]

    @property
    def record(self) -> str:
        """The file that says what the folder holds; written last."""
        return f"{self.command}.json"

    @property
    def prefix(self) -> str:
        """How the fingerprint in the shards' end markers starts."""
        return f"{self.command}-"


DATA = Kind("data", ("splits.json", "LICENSE.txt"))
MINE = Kind("mine", ("manifest.jsonl",))


def is_current(out: Path, fingerprint: str, kind: Kind = DATA) -> dict[str, Any] | None:
    """The record of what `out` holds, if its fingerprint is this one and it is whole; else None."""
    try:
        record = _record(out, kind)
    except ArlError:
        return None  # `require_ours` says it, where something would be replaced
    if record is None or record.get("made") != fingerprint:
        return None
    if not all((out / name).is_file() for name in record.get("beside", [])):
        return None
    for name in record["shards"]:
        marker = read_marker(out / name)
        if marker is None or marker.fingerprint != fingerprint:
            return None
    return record


def _record(out: Path, kind: Kind) -> dict[str, Any] | None:
    """None: no record, as before the first run. Raises ArlError for a file that is none, or names anything but shards
    of ours: it would be overwritten."""
    path = out / kind.record
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArlError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        record = None
    shards = record.get("shards") if isinstance(record, dict) else None
    if not isinstance(shards, list) or not isinstance(record.get("failed"), int) or not all(map(_is_ours, shards)):
        raise ArlError(f"{path}: not written by arl {kind.command}; delete it, or choose another --out")
    return record


def _is_ours(name: object) -> bool:
    return isinstance(name, str) and SHARD.fullmatch(name) is not None


@contextmanager
def staging(out: Path, kind: Kind = DATA, resume: str = "") -> Iterator[Path]:
    """A folder inside `out`, which is made and locked; removed at the end, with all that is still in it.

    It is empty, unless a run with the same `resume` (a fingerprint) was interrupted or killed: then it holds what
    that one had made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ArlError(f"{out}: is a file; --out is a folder") from error
    lock = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArlError(f"{out}: another `arl {kind.command}` is writing to it") from error
        kept = out / f"{PART}{resume}" if resume else None
        for left in out.glob(f"{PART}*"):
            if left.is_symlink():
                left.unlink()
            elif left != kept:
                shutil.rmtree(left)
        if kept is None:
            with tempfile.TemporaryDirectory(dir=out, prefix=PART) as folder:
                yield Path(folder)
        else:
            yield from _kept_if_interrupted(kept)
    finally:
        os.close(lock)
        with suppress(OSError):  # not empty, as it should be: a failure leaves no empty folder behind
            out.rmdir()


def _kept_if_interrupted(folder: Path) -> Iterator[Path]:
    """Yields the folder, and removes it unless Ctrl-C or a signal ended the work in it."""
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    except Exception:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def require_ours(out: Path, folders: Sequence[str], kind: Kind = DATA, inputs: Iterable[Path] = ()) -> None:
    """Raises ArlError when a shard in one of the folders (paths inside `out`) was not written by the command, when one
    of its `inputs` would be replaced, and where there are no shards, when a file that it would write is there."""
    refuse_unwritable(out, is_filled=True)
    inputs = list(inputs)
    _refuse_inputs([out / name for name in (kind.record, *kind.beside)], inputs)
    recorded, replaced = _recorded(out, kind), _replaced(out, folders, kind)
    _refuse_inputs(replaced, inputs)
    strange = f"not written by arl {kind.command}, and would be replaced; choose another --out"
    for name in kind.beside:
        if not recorded and not replaced and (out / name).exists():
            raise ArlError(f"{out / name}: {strange}")
    for shard in replaced:
        marker = read_marker(shard)
        # one of ours that was cut is known by the record only
        if not (marker.fingerprint.startswith(kind.prefix) if marker else shard in recorded):
            raise ArlError(f"{shard}: {strange}")


def _refuse_inputs(written: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raises ArlError where a file that is replaced is one of the inputs, be it through links."""
    names = {path.name for path in written}
    read = {path.resolve() for path in inputs if path.name in names or path.is_symlink()}
    for path in written:
        if path.resolve() in read:
            raise ArlError(f"{path}: is read by this command, and would be replaced; choose another --out")


def publish(staged: Path, out: Path, folders: Sequence[str], record: dict[str, Any], kind: Kind = DATA) -> None:
    """Move the files of `staged` to the same places in `out`, in place of earlier ones; `record` is written last.

    Killed in between, `out` is seen to be incomplete by its old record, and the next run clears it up.
    """
    require_ours(out, folders, kind)
    for name in kind.beside:
        (out / name).unlink(missing_ok=True)
    for old in _replaced(out, folders, kind):
        old.unlink()
        (old.parent / RECORD).unlink(missing_ok=True)
    files = [path for path in staged.rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda path: (path.name in kind.beside, path)):  # shards first: they are known
        target = out / file.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    temporary = staged / kind.record  # goes with the folder if a full disk cuts it
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    temporary.replace(out / kind.record)


def _replaced(out: Path, folders: Sequence[str], kind: Kind) -> list[Path]:
    """The shards in `out` that new ones replace: those in their folders, and those that the last record names."""
    found = _recorded(out, kind) | {path for folder in folders for path in (out / folder).glob("*.tar")}
    for folder in {out / folder for folder in folders} | {path.parent for path in found}:
        if not folder.resolve().is_relative_to(out.resolve()):
            raise ArlError(f"{folder}: a link that leads out of {out}; shards there are not replaced, remove the link")
    return sorted(path for path in found if path.is_file())


def _recorded(out: Path, kind: Kind) -> set[Path]:
    record = _record(out, kind)
    return {out / name for name in record["shards"]} if record else set()
