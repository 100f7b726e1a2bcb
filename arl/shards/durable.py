"""Making written files survive a crash, in one place: what is renamed into view has been synced first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


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


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder whole or not at all: fill(temporary), fsync, one rename. One that is there is replaced then."""
    temporary = path.parent / f".{path.name}.tmp-{os.getpid()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    try:
        fill(temporary)
        sync_tree(temporary)
        if path.exists():
            old = path.parent / f".{path.name}.old-{os.getpid()}"
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
