"""Reading shards, strictly: a shard is whole or it is an error, never a shorter shard.

`read_shard` refuses a missing end marker, a cut anywhere, a count or digest that differs, bytes after the marker,
repeated keys and members, members of one sample that are not adjacent, and everything that is no plain file.
Memory holds one sample at a time. A shard in a file is checked for its marker before the first sample; the digest
can only be compared after the last one, so the last sample is handed out when all of the shard has been proved.
Left out: foreign tars (`arl.shards.foreign`) and decoding of members.

    for sample in read_joined([Path("emb/000003.tar"), Path("rollout/000003.tar")]):
        hyps = Rollout.of(sample).hyps
"""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from arl.errors import ArlError, UsageError
from arl.shards.growing import GrowingStream, growth_of
from arl.shards.marker import END, MAX_MARKER, marker_in_tail, parse_marker, read_marker, update_digest
from arl.shards.names import content_problem, extension_problem, key_problem, split_name
from arl.shards.paths import STDIN, joined_shards
from arl.shards.tar import IMPORT_HINT, Member, TarStream, padding

__all__ = ["Sample", "joined_shards", "read_joined", "read_shard", "scan_shard"]

BUFFER = 1 << 20  # bytes


@dataclass(frozen=True)
class Sample:
    """One utterance with the columns that were read.

    members: extension after the first dot to bytes. offsets: extension to (shard, byte offset of the member's data
    in it, size in bytes), empty for foreign tars. source: the tar of a foreign sample.
    """

    key: str
    members: dict[str, bytes]
    offsets: dict[str, tuple[Path, int, int]]
    source: Path | None = None

    @property
    def where(self) -> str:
        """The shards and the sample, as error messages name them."""
        paths = list(dict.fromkeys(str(path) for path, _, _ in self.offsets.values())) or [str(self.source or "")]
        return f"{', '.join(paths)}: sample {self.key!r}".removeprefix(": ")

    def json(self, extension: str) -> Any:
        """The parsed JSON member. Raises ArlError when it is missing, or not JSON (NaN and Infinity are not)."""
        data = self.members.get(extension)
        if data is None:
            there = ", ".join(self.members) or "nothing"
            raise ArlError(f"{self.where}: no member {extension!r}, only {there}; join the folder that holds it")
        try:
            return _parsed(data)
        except (ValueError, RecursionError) as error:
            raise ArlError(f"{self.where}: member {extension!r} is not JSON ({error}); write it again") from error


def _parsed(data: bytes) -> Any:
    """Fast, and where that fails by the standard library, which says better what is wrong."""
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits:.20} is beyond the floats")
    return number


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one shard in its order; Path("-") is standard input, read as it comes.

    Raises ArlError naming the shard and the sample for anything but a whole shard of ours.
    """
    with _opened(path) as stream:
        tar = TarStream(stream, Path(path))
        if tar.is_file and read_marker(path) is None:
            # Where it was cut is the better message; every way through a shard without a marker ends in an error.
            for _ in _samples(tar, lambda extension: False):
                continue
            raise ArlError(f"{path}: damaged end marker: make the shard again")
        yield from _samples(tar, None)


def scan_shard(path: Path, wanted: Callable[[str], bool]) -> Iterator[Sample]:
    """`read_shard` that reads only the members whose extension is `wanted`; the others have their offset only.

    Everything is checked but the digest and the passed-over bytes.
    """
    with _opened(path) as stream:
        yield from _samples(TarStream(stream, Path(path)), wanted)


def read_joined(shards: Sequence[Path]) -> Iterator[Sample]:
    """The same rows of several shards, as one: equal keys in equal order, members merged (`paste` for shards).

    Raises ArlError when keys, order or count differ, or when two shards hold the same member.
    """
    if not shards or [str(path) for path in shards].count(STDIN) > 1:
        raise UsageError("join at least one shard, and standard input (-) once at most")
    for number, row in enumerate(zip_longest(*map(read_shard, shards)), 1):
        keys = [repr(sample.key) if sample else "no sample" for sample in row]
        for path, key in zip(shards, keys, strict=True):
            if key != keys[0]:
                raise ArlError(
                    f"{path}: row {number} is {key}, but {keys[0]} in {shards[0]}: "
                    "joined shards need the same keys in the same order; make the later one again"
                )
        yield row[0] if len(row) == 1 else _merged(row)


def _merged(row: Sequence[Sample]) -> Sample:
    sample = Sample(row[0].key, {}, {})
    for part in row:
        for extension, data in part.members.items():
            if extension in sample.members:
                raise ArlError(f"{part.where}: member {extension!r} is also in {sample.offsets[extension][0]}")
            sample.members[extension] = data
            sample.offsets[extension] = part.offsets[extension]
    return sample


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == STDIN:
        yield sys.stdin.buffer
        return
    if (growth := growth_of(path)) is not None:
        with closing(GrowingStream(growth)) as growing:
            try:
                yield cast(BinaryIO, growing)
            except ArlError as error:
                raise ArlError(str(error).replace(str(path), "standard input")) from error
        return
    try:
        stream = open(path, "rb", buffering=BUFFER)  # noqa: SIM115 (closed below; only opening is guarded)
    except OSError as error:
        raise ArlError(f"{path}: cannot be read ({error.strerror})") from error
    with stream:
        yield stream


def _samples(tar: TarStream, wanted: Callable[[str], bool] | None) -> Iterator[Sample]:
    """wanted: which members to read; None: all, and compare the digest."""
    digest = hashlib.sha256()
    seen: set[str] = set()
    sample: Sample | None = None
    while (member := tar.next()) is not None and member.name != END:
        key, extension = _split(tar.path, member)
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            if key in seen:
                problem = "comes twice, or its members are not adjacent: sort them, keys are unique"
                raise ArlError(f"{tar.path}: sample {key!r} {problem}")
            seen.add(key)
            sample = Sample(key, {}, {})
        if extension in sample.offsets:
            raise ArlError(f"{sample.where}: member {extension!r} comes twice; make the shard again")
        sample.offsets[extension] = (tar.path, member.offset, member.size)
        if wanted is None or wanted(extension):
            sample.members[extension] = data = tar.read(member)
            if refused := content_problem(extension, data):
                raise ArlError(f"{sample.where}: member {extension!r}: {refused}")
            update_digest(digest, member.name, data)
        else:
            tar.skip(member)
    _check_end(tar, member, len(seen), digest.hexdigest() if wanted is None else None)
    if sample is not None:
        yield sample


def _split(path: Path, member: Member) -> tuple[str, str]:
    key, extension = split_name(member.name)
    problem = key_problem(key) or extension_problem(extension)
    if problem is None:
        return key, extension
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise ArlError(f"{path}: member {member.name!r} leads out of the shard; do not use this file")
    raise ArlError(f"{path}: member {member.name!r}: {problem}; {IMPORT_HINT}")


def _check_end(tar: TarStream, member: Member | None, samples: int, sha256: str | None) -> None:
    """What follows the last sample: the end marker, true of all before it, and nothing after it."""
    if member is None:
        after = f"after {tar.last!r}" if tar.last else "and no samples"
        raise ArlError(f"{tar.path}: no end marker {after}: truncated, or not made by arl; {IMPORT_HINT}")
    data = tar.read(member) if member.size <= MAX_MARKER else b""
    marker = parse_marker(data)
    if marker is None:
        raise ArlError(f"{tar.path}: damaged end marker: make the shard again")
    if marker.samples != samples:
        raise ArlError(f"{tar.path}: {samples} samples, but its end marker says {marker.samples}: make it again")
    if sha256 is not None and marker.sha256 != sha256:
        raise ArlError(f"{tar.path}: the bytes of its {samples} samples were changed (sha256): make it again")
    closing = tar.finish()
    if marker_in_tail(tar.header + data + bytes(padding(len(data))) + closing) != marker:
        raise ArlError(f"{tar.path}: damaged end marker: make the shard again")  # a file's is looked for from its end
