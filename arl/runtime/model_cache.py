"""Models that a resident stage keeps in host memory between jobs, so that the next one need not load them.

An entry is named by the files of the folders that it equals (name, size, inode, times): those just written, or just
read. A folder that has changed on disk in any way is loaded anew, so warm and cold give the same bits. A job pops an
entry and puts it back when it has ended well; after a failure nothing is kept. A process that is not resident keeps
nothing.

    model = MODEL_CACHE.pop(policy.llm_dir) or load(policy.llm_dir); ...; MODEL_CACHE.put(model, next_policy.llm_dir)
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FileStats = tuple[tuple[str, int, int, int, int], ...]


def file_stats(*folders: Path) -> FileStats:
    """(name, size, inode, modified, changed) of each file under `folders`, times in nanoseconds; equal stats mean equal
    contents, as far as the file system tells."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stat = path.stat()
                name = str(path.relative_to(folder.parent))
                found.append((name, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns))
    return tuple(found)


@dataclass
class ModelCache:
    """What is kept between jobs. is_resident: whether this process outlives its job; if not, `put` keeps nothing."""

    is_resident: bool = False
    entries: dict[FileStats, Any] = field(default_factory=dict)

    def holds(self, *folders: Path) -> bool:
        """Whether `pop` would return what was put for these folders."""
        return self.is_resident and file_stats(*folders) in self.entries

    def pop(self, *folders: Path) -> Any:
        """What was put for these folders, or None. It leaves the cache: the job may change it."""
        return self.entries.pop(file_stats(*folders), None) if self.is_resident else None

    def put(self, thing: Any, *folders: Path) -> None:
        """Keeps `thing`, which equals these folders' contents, until `pop` or `clear`."""
        if self.is_resident:
            self.entries[file_stats(*folders)] = thing

    def clear(self) -> None:
        """Drops everything: a new job pops what it needs first, and the rest is of no more use."""
        self.entries.clear()


MODEL_CACHE = ModelCache()  # of this process
