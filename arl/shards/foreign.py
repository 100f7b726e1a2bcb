"""Reading WebDataset tars that others made: no end marker, folders in names, compression; still safe.

Members are grouped into samples by the webdataset library. Before that, every member is looked at: links, devices,
paths that lead out, pickles, and a tar that was cut, also at a member boundary, are errors, which webdataset itself
passes over. What it drops is dropped here too: files without an extension and hidden files. Only `arl data` uses
this; importing the library costs seconds because it imports torch.

    for sample in read_foreign(Path("train-000000.tar.gz")): ...
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from arl.errors import ArlError
from arl.shards.marker import END, read_marker
from arl.shards.names import content_problem, holds_pickle
from arl.shards.paths import spooled
from arl.shards.reader import Sample, read_shard
from arl.shards.tar import BLOCK, CHUNK, KINDS

COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\0\0": lzma.open,
}
MOST_BYTES = 1 << 29  # of a member: a compressed tar can have far more than its own size


def read_foreign(path: Path) -> Iterator[Sample]:
    """The samples of a WebDataset tar, plain or compressed; Path("-") is standard input.

    Keys are made legal (`legal_key`), and two may become equal by it; extensions lower case; offsets are empty. Raises
    ArlError naming the file and the member for a cut or hostile tar, for a key that comes back later, and for a member
    that comes twice. A shard of ours is read as the stages read it, with its digest.
    """
    from webdataset.handlers import reraise_exception
    from webdataset.tariterators import group_by_keys

    path = Path(path)
    with spooled([path]) as (file,):
        if read_marker(file) is not None:
            yield from _own(file, path)
            return
        seen: set[str] = set()
        try:
            for found in group_by_keys(_files(file, path), handler=reraise_exception):
                own = found.pop("__key__")
                if own in seen:
                    problem = "comes twice, or its members are not adjacent; `tar --sort=name` puts them together"
                    raise ArlError(f"{path}: sample {own!r} {problem}")
                seen.add(own)
                key = legal_key(own)
                members = {name: data for name, data in found.items() if not name.startswith("__")}
                yield Sample(key, members, {}, path)
        except ValueError as error:  # a duplicate member, in the library's words
            raise ArlError(f"{path}: {str(error.args[0]).partition(' dict_keys')[0]}") from error


def _own(file: Path, path: Path) -> Iterator[Sample]:
    """A shard with our end marker. path: as the user gave it."""
    try:
        yield from (Sample(sample.key, sample.members, {}, path) for sample in read_shard(file))
    except ArlError as error:
        raise ArlError(str(error).replace(str(file), str(path))) from error


def legal_key(key: str) -> str:
    """A key of ours for a foreign one: folders, dots and what cannot be printed become "_" (`a/b.c` → `a_b_c`)."""
    plain = "".join("_" if char in "/.\\" or not char.isprintable() else char for char in key)
    return f"k{plain}" if plain.startswith("__") else plain


def _files(path: Path, name: Path) -> Iterator[dict[str, Any]]:
    """One dict a regular file, as webdataset's own tar iterator yields them. name: the path as the user gave it."""
    try:
        with (
            _uncompressed(path) as stream,
            tarfile.open(fileobj=cast(BinaryIO, BoundedReads(stream)), mode="r:") as tar,
        ):
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or memory grows with the tar; webdataset does it too
                _refuse(member, name)
                if member.name == END:
                    raise ArlError(f"{name}: damaged end marker: make the shard again")
                if not member.isreg() or Path(member.name).name.startswith("."):
                    continue
                yield {"fname": member.name.removeprefix("./"), "data": _data(tar, member, name), "__url__": str(name)}
            _check_closed(tar, name)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RecursionError, OverflowError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArlError(f"{name}: not a whole tar ({reason}); copy it again") from error
    except OSError as error:
        raise ArlError(f"{name}: cannot be read ({error.strerror or error})") from error


def _uncompressed(path: Path) -> BinaryIO:
    """The tar's bytes, through what its first bytes say it is compressed with."""
    with path.open("rb") as file:
        head = file.read(6)
    open_ = next((opener for magic, opener in COMPRESSIONS.items() if head.startswith(magic)), None)
    return path.open("rb") if open_ is None else cast(BinaryIO, open_(path, "rb"))


class BoundedReads:
    """A stream for tarfile, which reads at once whatever size a header claims: no more than a chunk can be."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > CHUNK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    """The bytes of a member, chunk by chunk: its size is a claim."""
    where = f"{path}: member {member.name!r}"
    if member.size > MOST_BYTES:
        raise ArlError(f"{where} has {member.size} bytes by its header, and {MOST_BYTES} are the most; split it")
    stream = tar.extractfile(member)
    assert stream is not None  # it is a regular file
    data = b"".join(iter(lambda: stream.read(CHUNK), b""))
    if len(data) < member.size:
        raise tarfile.ReadError(f"member {member.name!r} has {len(data)} of {member.size} bytes")
    _, _, extension = Path(member.name).name.partition(".")
    if problem := content_problem(extension.lower(), data):
        raise ArlError(f"{where}: {problem}")
    return data


def _refuse(member: tarfile.TarInfo, path: Path) -> None:
    where = f"{path}: member {member.name!r}"
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise ArlError(f"{where} leads out of the tar; do not use this file")
    if member.size < 0:  # tarfile would go back and read the same members again, for ever
        raise ArlError(f"{where} has a negative size; do not use this file")
    if not member.isreg() and not member.isdir() or member.issparse():
        kind = KINDS.get(member.type, "no plain file")
        raise ArlError(f"{where} is {kind}; pack plain files only (`tar --dereference`)")
    extension = parts[-1].partition(".")[2]
    if member.isreg() and holds_pickle(extension):
        raise ArlError(f"{where}: a .{extension} member can hold pickled code, which arl never reads; leave it out")


def _check_closed(tar: tarfile.TarFile, path: Path) -> None:
    """tarfile takes a missing or broken header for the end: a finished tar has a zero block there, then only zeros.

    Reading on also has a compressed file's checksum compared.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(BLOCK)
    if block != bytes(BLOCK):
        what = "damaged" if len(block) == BLOCK else "cut"
        raise ArlError(f"{path}: {what} after its last readable member, at byte {tar.offset}; copy it again")
    while rest := tar.fileobj.read(CHUNK):
        if rest.strip(b"\0"):
            raise ArlError(f"{path}: data after the end of the tar: two tars in one file? Import them one by one")
