"""Making written files survive a crash, in one place: what is renamed into view has been synced first."""

import os
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
