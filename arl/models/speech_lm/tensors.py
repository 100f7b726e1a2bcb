"""safetensors files without loading them: what is in a file, and files written from pieces of others, byte for byte.

A tensor is copied from file to file in blocks, so a checkpoint of any size is split in a few megabytes of memory.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from arl.errors import ArlError

BLOCK = 1 << 22
LARGEST_HEADER = 100_000_000  # bytes, safetensors' own limit


@dataclass(frozen=True)
class Stored:
    """A tensor in a file. dtype: safetensors' code ("BF16"); start: of its bytes in the file; size: bytes."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def blocks(self) -> Iterator[bytes]:
        """Its bytes."""
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            remaining = self.size
            while remaining:
                block = stream.read(min(BLOCK, remaining))
                if not block:
                    raise ArlError(f"{self.file}: ends within tensor {self.name}")
                remaining -= len(block)
                yield block


@dataclass(frozen=True)
class Piece:
    """A tensor to write: what a file's header says of it, and where its bytes come from."""

    name: str
    dtype: str
    shape: Sequence[int]
    size: int
    blocks: Callable[[], Iterable[bytes]]


def read_header(file: Path) -> str:
    """The JSON text in front of the tensors. ArlError where the file is no safetensors file."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = stream.read(length) if length <= LARGEST_HEADER else b""
    except OSError as error:
        raise ArlError(f"{file}: cannot be read ({error.strerror})") from error
    if len(header) != length or not header.startswith(b"{"):
        raise ArlError(f"{file}: not a safetensors file, or cut off: fetch it again")
    return header.decode("utf-8", "replace")


def read_tensors(file: Path) -> list[Stored]:
    """The tensors of a file, in the order of their bytes. ArlError where the header does not fit the file."""
    header = read_header(file)
    first = 8 + len(header.encode())
    try:
        fields = json.loads(header)
        fields.pop("__metadata__", None)
        rows = [(name, row["dtype"], tuple(row["shape"]), *row["data_offsets"]) for name, row in fields.items()]
        found = [
            Stored(file, name, dtype, shape, first + begin, end - begin)
            for name, dtype, shape, begin, end in sorted(rows, key=lambda row: row[3:])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArlError(f"{file}: its safetensors header is damaged ({error!r}): fetch it again") from error
    position = first
    for tensor in found:
        if tensor.start != position or tensor.size < 0:
            raise ArlError(f"{file}: tensor {tensor.name} does not begin where the one before ends")
        position += tensor.size
    if position != file.stat().st_size:
        raise ArlError(f"{file}: {file.stat().st_size} bytes, and its header says {position}: fetch it again")
    return found


def write_tensors(file: Path, pieces: Sequence[Piece]) -> None:
    """A safetensors file of `pieces`, in their order."""
    fields: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for piece in pieces:
        offsets = [position, position + piece.size]
        fields[piece.name] = {"dtype": piece.dtype, "shape": list(piece.shape), "data_offsets": offsets}
        position += piece.size
    text = json.dumps(fields, separators=(",", ":"))
    write_with_header(file, text + " " * (-len(text.encode()) % 8), (piece.blocks() for piece in pieces))


def write_with_header(file: Path, header: str, contents: Iterable[Iterable[bytes]]) -> None:
    """A safetensors file of a given header, whose tensors have their bytes from `contents`, in the header's order."""
    raw = header.encode()
    with file.open("wb") as stream:
        stream.write(len(raw).to_bytes(8, "little"))
        stream.write(raw)
        for blocks in contents:
            _write(stream, blocks)


def _write(stream: IO[bytes], blocks: Iterable[bytes]) -> None:
    for block in blocks:
        stream.write(block)
