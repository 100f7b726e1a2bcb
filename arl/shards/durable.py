"""Making written files survive a crash, in one place: what is renamed into view has been synced first."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from arl.errors import ArlError, UsageError, reason_of

FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)


def sync(entry: Path) -> None:
    """fsync of one file or folder."""
    descriptor = os.open(entry, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync of every file and folder below, so that the rename that follows publishes whole data."""
    for entry in [*folder.rglob("*"), folder]:
        sync(entry)


def refuse_inputs(out: Path, inputs: Iterable[str | Path]) -> None:
    """UsageError where an output folder, which is replaced as a whole, is one of the inputs, holds one, or lies in one.

    Links are resolved. inputs: files and folders that a command reads.
    """
    target = out.resolve()
    for source in inputs:
        place = Path(source).resolve()
        if target == place or target in place.parents or (place in target.parents and place.is_dir()):
            raise UsageError(f"--out {out}: is, holds or lies in the input {source}; give another folder")


def refuse_same_place(out: Path, inputs: Iterable[str | Path], names: Iterable[str] = ()) -> None:
    """UsageError where an output folder, in which the files `names` are written, is one of the inputs, or one of these
    files is.

    Links are resolved. inputs: files and folders that a command reads.
    """
    written = {path.resolve() for path in (out, *(out / name for name in names))}
    for source in inputs:
        if Path(source).resolve() in written:
            raise UsageError(f"--out {out}: would write over the input {source}; give another folder")


def refuse_unwritable(out: Path, is_filled: bool = False) -> None:
    """ArlError where nothing can be made at `out`, before the work that would be lost. is_filled: files are written
    into a folder that may be there already; else the folder is replaced."""
    folder = out.resolve() if is_filled else out.resolve().parent
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ArlError(f"{out}: cannot be written, as {place} is read-only or no folder; give another --out")


def own_mark() -> str:
    """Ends the names of what this process has not finished: its number and its node, whose process table alone knows
    whether it lives."""
    return f"{os.getpid()}@{os.uname().nodename}"


def write_file(path: Path, text: str) -> None:
    """Writes a file of UTF-8 text whole or not at all, in place of one that is there. ArlError where it cannot."""
    temporary = path.parent / f".{path.name}.tmp-{own_mark()}"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ArlError(f"{path}: cannot be written ({reason_of(error)})") from error


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder whole or not at all: fill(temporary), fsync, one rename. One that is there is replaced then, and
    where the path is a link, what it leads to."""
    path = path.resolve() if path.is_symlink() else path
    temporary = path.parent / f".{path.name}.tmp-{own_mark()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    try:
        fill(temporary)
        sync_tree(temporary)
        if path.exists():
            old = path.parent / f".{path.name}.old-{own_mark()}"
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        sync(path.parent)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if (reason := _disk_reason(error)) is not None:
            raise ArlError(f"{path}: cannot be written ({reason})") from error
        raise


def _disk_reason(error: BaseException) -> str | None:
    """Why files could not be written, None where they could: safetensors has the system's error in its own."""
    if type(error).__name__ == "SafetensorError" and (code := re.search(r"\(os error (\d+)\)", str(error))):
        return reason_of(OSError(int(code[1]), os.strerror(int(code[1]))))
    return reason_of(error) if isinstance(error, OSError) and error.errno in FULL_OR_READ_ONLY else None
