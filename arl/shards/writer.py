"""Writing shards: a shard is either whole at its final name or not there at all.

The bytes go to `.<name>.tmp-<pid>` in the same folder, are synced, and are renamed when the end marker is written;
an exception removes the temporary file. The process holds a lock (flock) on it, so what a killed process left behind
is recognised, even when its process id is in use again or belongs to another container, and the next writer of the
same shard removes it. Equal samples give equal bytes: no times, no user names.

    with ShardWriter(Path("emb/000000.tar"), fingerprint=wanted) as shard:
        shard.write("utt-0001", {"emb.safetensors": data, "prompt.json": dumps(prompt)})
"""

import errno
import fcntl
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from arl.errors import ArlError, reason_of
from arl.shards.durable import sync
from arl.shards.marker import END, MAX_MARKER, EndMarker, update_digest
from arl.shards.names import content_problem, extension_problem, key_problem
from arl.shards.tar import CLOSING, member_header, padding

BUFFER = 1 << 20  # bytes
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # file systems mounted without flock


class ShardWriter:
    """Context manager that writes one shard, atomically; its folder is made if it is not there.

    path: the final name. fingerprint: of stage, arguments and inputs, stored in the end marker. copy: a pipe's
    descriptor that gets the same bytes, sample by sample; if nobody reads it any more, the shard is written all the
    same.
    Raises ArlError for keys and members that a reader would refuse (nothing of such a sample is written),
    and when the file cannot be written.
    """

    def __init__(self, path: Path, fingerprint: str = "", copy: int | None = None) -> None:
        self.path = Path(path)
        self.fingerprint = fingerprint
        self._copy = copy
        self._to_copy: list[bytes] = []
        self.samples = 0
        self._temp = self.path.parent / f".{self.path.name}.tmp-{os.getpid()}"
        self._stream: BinaryIO | None = None
        self._keys: set[str] = set()
        self._digest = hashlib.sha256()
        self._failure: OSError | None = None
        self._is_finished = False

    def __enter__(self) -> "ShardWriter":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(self.path)
            if self._temp.exists():
                raise ArlError(f"{self.path}: already being written ({self._temp.name}); wait, or remove it")
            self._stream = _create_locked(self._temp)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Adds one sample. members: extension (without its leading dot) to bytes, written in the given order."""
        self._refuse(key, members)
        for extension, data in members.items():
            name = f"{key}.{extension}"
            update_digest(self._digest, name, data)
            self._append(name, data)
        self._keys.add(key)
        self.samples += 1
        self._send_copy()

    def _refuse(self, key: str, members: Mapping[str, bytes]) -> None:
        problem = key_problem(key) or ("the shard is finished" if self._is_finished else None)
        if problem is None and key in self._keys:
            problem = f"the key {key!r} is there already"
        if problem is None and not members:
            problem = f"sample {key!r} has no members"
        for extension, data in members.items():
            problem = problem or extension_problem(extension) or content_problem(extension, data)
        if problem:
            raise ArlError(f"{self.path}: sample {key!r}: {problem}")

    def _append(self, name: str, data: bytes) -> None:
        stream = self._opened()
        parts = member_header(name, len(data)), data, bytes(padding(len(data)))
        try:
            stream.writelines(parts)
        except OSError as error:
            self._failure = error
            raise self._unwritable(error) from error
        if self._copy is not None:
            self._to_copy += parts

    def _send_copy(self) -> None:
        if self._copy is not None:
            try:
                write_all(self._copy, b"".join(self._to_copy))
            except BrokenPipeError:
                self._copy = None
        self._to_copy.clear()

    def _opened(self) -> BinaryIO:
        if self._stream is None:
            raise ArlError(f"{self.path}: not open for writing; use `with ShardWriter(...)`")
        return self._stream

    def _unwritable(self, error: OSError) -> ArlError:
        return ArlError(f"{self.path}: cannot be written ({reason_of(error)})")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
                self._publish()
        finally:
            self._discard()

    def finish(self) -> None:
        """Ends the file: all is on the disk then but its name, so that a full disk is found before anything says that
        the shard is there. Called at the end of the block where the caller has not."""
        if self._failure is not None:  # the caller swallowed a failed write: half a sample is in the file
            raise self._unwritable(self._failure)
        if self._is_finished:
            return
        self._is_finished = True
        marker = EndMarker(self.samples, self._digest.hexdigest(), self.fingerprint).to_json()
        if len(marker) > MAX_MARKER:
            raise ArlError(f"{self.path}: the fingerprint is too long ({len(self.fingerprint)} characters)")
        self._append(END, marker)
        stream = self._opened()
        try:
            stream.write(bytes(CLOSING))
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            self._failure = error
            raise self._unwritable(error) from error

    def _publish(self) -> None:
        try:
            os.replace(self._temp, self.path)
            sync(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from error
        self._to_copy.append(bytes(CLOSING))
        self._send_copy()

    def _discard(self) -> None:
        """Closes the temporary file and removes it, if it was not renamed."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if _is_same_file(self._temp, stream):
            self._temp.unlink(missing_ok=True)
        # What is still buffered belongs to a removed file: on a full disk its flush fails, and that is no news.
        with suppress(OSError):
            stream.close()


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]], fingerprint: str = "") -> None:
    """Writes (key, members) pairs to one shard: `ShardWriter` for what is at hand already."""
    with ShardWriter(path, fingerprint) as shard:
        for key, members in samples:
            shard.write(key, members)


def write_all(descriptor: int, data: bytes) -> None:
    """All of `data` to a pipe or file, however little each call takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def remove_stale(path: Path) -> list[Path]:
    """Removes what killed writers of the shard `path` left behind, and returns it. Living writers' files stay."""
    path, removed = Path(path), []
    pattern = re.compile(re.escape(f".{path.name}.tmp-") + r"\d+")
    for name in sorted(glob.glob(f".{glob.escape(path.name)}.tmp-*", root_dir=path.parent, include_hidden=True)):
        if pattern.fullmatch(name) and _remove_if_abandoned(path.parent / name):
            removed.append(path.parent / name)
    return removed


def _remove_if_abandoned(temp: Path) -> bool:
    try:
        descriptor = os.open(temp, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone already, or not ours to touch: readers ignore it either way
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temp.unlink(missing_ok=True)
        return True
    except OSError:  # its writer lives, or there are no locks here to tell
        return False
    finally:
        os.close(descriptor)


def _create_locked(temp: Path) -> BinaryIO:
    """A new file, locked by us. Another process may remove it between its making and its lock: then again."""
    while True:
        descriptor = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        stream = os.fdopen(descriptor, "wb", buffering=BUFFER)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                stream.close()
                raise
        if _is_same_file(temp, stream):
            return stream
        stream.close()


def _is_same_file(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
