"""A disk of a few hundred kilobytes, to be filled or made read-only: a tmpfs, which only root can mount.

with small_disk(tmp_path / "disk") as disk:
    disk.fill()
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE_KB = 256


@dataclass(frozen=True)
class Disk:
    path: Path

    def fill(self) -> None:
        """Takes all room but that of file names."""
        with (self.path / ".filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                return

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)

    def files(self) -> list[str]:
        """What lies on it, hidden files too, but the filler."""
        found = [path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()]
        return sorted(name for name in found if name != ".filler")


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    path.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(path)]
    if subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
