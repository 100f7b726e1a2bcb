"""The tar dialect of our shards, block by block: regular files only, every byte accounted for.

Own code and not `tarfile`'s iterator, because that one takes a broken header for the end of the archive,
follows links and long-name extensions, and says nothing about what comes after the end. Header blocks are
parsed and built by `tarfile.TarInfo`; a PAX header may only carry a path (long or not ASCII) or a size (8 GiB
and more). Left out: compression, which would take away reading a member in place.

    tar = TarStream(open("emb/000000.tar", "rb"), Path("emb/000000.tar"))
    while member := tar.next():
        data = tar.read(member)
"""

import os
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from arl.errors import ArlError

BLOCK = 512  # bytes
CLOSING = 2 * BLOCK  # bytes of zeros that close an archive
RECORD = 20 * BLOCK  # bytes; other writers pad the archive to a multiple of this
ZEROS = bytes(BLOCK)
CHUNK = 1 << 24  # bytes read at once from a pipe, whose headers may claim any size
MAX_PAX = 1 << 16  # bytes
GZIP = b"\x1f\x8b"
IMPORT_HINT = "`arl data --shards X -o Y` imports a foreign WebDataset"

KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.DIRTYPE: "a directory",
}


@dataclass(frozen=True)
class Member:
    """One regular file of a tar: its name, where its data starts in the archive, and how long it is (bytes)."""

    name: str
    offset: int
    size: int


def padding(size: int) -> int:
    """Zero bytes after `size` bytes of data, up to the next block."""
    return -size % BLOCK


def member_header(name: str, size: int) -> bytes:
    """The header block of a regular file, with a PAX header before it only where ustar cannot say it."""
    info = tarfile.TarInfo(name)
    info.size = size  # mode 0644, mtime, uid and gid 0 are TarInfo's defaults
    return info.tobuf(format=tarfile.PAX_FORMAT, encoding="utf-8", errors="strict")


def parse_header(block: bytes) -> tarfile.TarInfo | None:
    """One header block, or None when it is not one (checksum, numbers, encoding)."""
    try:
        info = tarfile.TarInfo.frombuf(block, encoding="utf-8", errors="strict")
    except (tarfile.TarError, ValueError):
        return None
    return info if info.size >= 0 else None


def parse_pax(data: bytes) -> dict[str, str]:
    """The `<length> <keyword>=<value>\\n` records of a PAX header. Raises ValueError when they are malformed."""
    records = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = data[len(digits) + 1 : length]
        keyword, equals, value = record.partition(b"=")
        if not 0 < length <= len(data) or not equals or not value.endswith(b"\n"):
            raise ValueError("malformed record")
        records[keyword.decode()] = value[:-1].decode()
        data = data[length:]
    return records


class TarStream:
    """Reads a tar front to back from a file or a pipe, one member at a time, and knows every byte offset.

    Each method raises ArlError naming the file and the member as soon as the bytes are not what they must be.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.path = path
        self.position = 0  # bytes, from the start of the archive
        self.last = ""  # name of the latest member
        self.header = b""  # its header block
        self._stream = stream
        self._size = _file_size(stream)  # None for a pipe
        self.is_file = self._size is not None

    def next(self) -> Member | None:
        """The next member, its data not yet read; None at the zero blocks that close an archive."""
        block = self._read(BLOCK, "header")
        if block == ZEROS:
            return None
        info, pax = self._header(block), {}
        if info.type == tarfile.XHDTYPE:
            pax = self._pax(info.size)
            block = self._read(BLOCK, "header")
            info = self._header(block)
        name = pax.get("path", info.name)
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = KINDS.get(info.type)
            if kind:
                raise self._error(f"member {name!r} is {kind}; a shard holds regular files only")
            raise self._error(f"member {name!r} uses the tar extension {info.type!r}; {IMPORT_HINT}")
        size = pax.get("size", str(info.size))
        if not size.isdecimal() or len(size) > 18:
            raise self._error(f"member {name!r} has a malformed size")
        self.last, self.header = name, block
        return Member(name, self.position, int(size))

    def read(self, member: Member) -> bytes:
        """The data of the member that `next` just returned."""
        data = self._read(member.size, "data")
        if self._read(padding(member.size), "data").strip(b"\0"):
            raise self._error(f"damaged after the data of member {member.name!r}")
        return data

    def skip(self, member: Member) -> None:
        """Passes over the data of the member that `next` just returned; a file is not read for it."""
        length = member.size + padding(member.size)
        if self._size is None:
            while length:
                length -= len(self._read(min(length, CHUNK), "data"))
            return
        self._require(length, "data")
        self._stream.seek(length, os.SEEK_CUR)
        self.position += length

    def finish(self) -> bytes:
        """The closing zero blocks. Checks that nothing else follows: `cat a.tar b.tar` is no shard."""
        rest = self._stream.read(CLOSING + RECORD)
        if rest.strip(b"\0") or len(rest) >= CLOSING + RECORD:
            raise self._error("data after the end marker: two shards in one file? Keep them apart, arl takes a list")
        if len(rest) < CLOSING:
            raise self._error("cut in the closing zero blocks: copy the shard again")
        if len(rest) % BLOCK:
            raise self._error(f"{len(rest) % BLOCK} bytes after the closing zero blocks: copy the shard again")
        return rest

    def _header(self, block: bytes) -> tarfile.TarInfo:
        info = parse_header(block)
        if info is not None:
            return info
        if self.position == BLOCK:
            raise self._error("not a tar file: a shard is an uncompressed tar")
        raise self._error(f"damaged header after {self.last!r}" if self.last else "damaged header")

    def _pax(self, size: int) -> dict[str, str]:
        if size > MAX_PAX:
            raise self._error(f"oversize PAX header after {self.last!r}")
        data = self._read(size, "header")
        self._read(padding(size), "header")
        try:
            pax = parse_pax(data)
        except ValueError as error:
            raise self._error(f"damaged PAX header after {self.last!r}") from error
        odd = [keyword for keyword in pax if keyword == "linkpath" or keyword.startswith("GNU.")]
        if odd:
            raise self._error(f"PAX header {odd[0]!r} after {self.last!r}: a shard holds regular files only")
        return pax

    def _require(self, length: int, what: str) -> None:
        if self._size is not None and self.position + length > self._size:
            raise self._cut(what, self._size)

    def _read(self, length: int, what: str) -> bytes:
        if what == "data":
            self._require(length, what)
        if length <= CHUNK:
            data = self._stream.read(length)
        else:
            parts, missing = [], length
            while missing and (part := self._stream.read(min(missing, CHUNK))):
                parts.append(part)
                missing -= len(part)
            data = b"".join(parts)
        if self.position == 0 and data.startswith(GZIP):
            raise self._error(f"gzip-compressed, a shard is an uncompressed tar: unpack it; {IMPORT_HINT}")
        if len(data) != length:
            raise self._cut(what, self.position + len(data))
        self.position += length
        return data

    def _cut(self, what: str, size: int) -> ArlError:
        if what == "data":
            return self._error(f"cut in the middle of member {self.last!r}, at byte {size}: copy or make it again")
        if size == 0:
            return self._error("empty file, no end marker: make the shard again")
        place = f"after {self.last!r}" if self.last else "in its first header"
        return self._error(f"cut {place}, at byte {size}; no end marker: copy or make it again; {IMPORT_HINT}")

    def _error(self, message: str) -> ArlError:
        return ArlError(f"{self.path}: {message}")


def _file_size(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # a buffer in memory: no descriptor
        return None
    # A file handed over as stdin may already have been read from: only from its start are offsets ours.
    return status.st_size if stat.S_ISREG(status.st_mode) and stream.tell() == 0 else None
