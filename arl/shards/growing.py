"""Standard input as a file that can be read while it still grows: `arl rollout --tee | arl reward --shards -`.

A thread copies the stream to a file. Readers of that file wait where a whole file would have its next bytes; members
have offsets in it and can be read in place, and when the stream has ended it is a shard like any other. Left out:
following a file that another process writes.

    with growing(sys.stdin.buffer, "000003") as path:
        for sample in read_shard(path): ...     # as they come
        wait_until_whole(path)                  # before its end marker is looked for
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from arl.shards.paths import SPOOL, SUFFIX

CHUNK = 1 << 20  # bytes


class Growth:
    """One file that a thread fills. size: bytes in it so far; waited_s: how long readers have waited for more."""

    def __init__(self, source: BinaryIO, path: Path) -> None:
        self.path, self.size, self.waited_s = path, 0, 0.0
        self.is_wanted, self._is_whole = True, False
        path.touch()  # it is there before anyone looks for it
        self._source = os.dup(source.fileno())  # the thread may outlive the job whose standard input it reads
        self._failure: OSError | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        """Copies what is there, as soon as it is there: os.read returns with less than it was asked for."""
        try:
            with open(self.path, "wb", buffering=0) as file:
                while self.is_wanted and (data := os.read(self._source, CHUNK)):
                    file.write(data)
                    with self._news:
                        self.size += len(data)
                        self._news.notify_all()
        except OSError as error:
            self._failure = error
        finally:
            os.close(self._source)
        with self._news:
            self._is_whole = True
            self._news.notify_all()

    def wait_for(self, size: int | None) -> None:
        """Returns when the file has `size` bytes, or has ended; None: only when it has ended. OSError if it failed."""
        began = time.monotonic()
        with self._news:
            self._news.wait_for(lambda: self._is_whole or (size is not None and self.size >= size))
            self.waited_s += time.monotonic() - began
        if self._failure is not None:
            raise self._failure


class GrowingStream:
    """Reads a growing file from its start; `read(n)` waits for n bytes or the end. No descriptor: no size is known."""

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        growth.wait_for(1)
        self._file = open(growth.path, "rb", buffering=0)  # noqa: SIM115 (closed by the caller, like any stream)
        self._position = 0

    def read(self, n: int) -> bytes:
        self._growth.wait_for(self._position + n)
        data = self._file.read(n) or b""
        self._position += len(data)
        return data

    def fileno(self) -> int:
        raise OSError("a growing file has no size yet")

    def close(self) -> None:
        self._file.close()


_GROWING: dict[Path, Growth] = {}


@contextmanager
def growing(source: BinaryIO, name: str) -> Iterator[Path]:
    """A file `name`.tar that a thread fills from `source`; it lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix=SPOOL) as folder:
        path = Path(folder) / f"{name}{SUFFIX}"
        _GROWING[path] = Growth(source, path)
        try:
            yield path
        finally:
            _GROWING.pop(path).is_wanted = False


def growth_of(path: Path) -> Growth | None:
    """The growth of this file, None for every file that does not grow here."""
    return _GROWING.get(Path(path))


def wait_until_whole(path: Path) -> None:
    """Returns when nothing more will be written to the file: at once for one that does not grow here."""
    growth = growth_of(path)
    if growth is not None:
        growth.wait_for(None)
