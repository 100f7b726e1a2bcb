"""Where a clip lies: a file, an offset, a size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.errors import ArlError


@dataclass(frozen=True)
class AudioSlice:
    """An encoded audio file (.flac, .wav, .mp3) in place: `size` bytes at `offset` of `path`, a tar or a plain file."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The file's bytes; `soundfile.read(io.BytesIO(clip.read()))` decodes them."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.offset)
            data = stream.read(self.size)
        if len(data) != self.size:
            raise ArlError(f"{self.path}: {len(data)} bytes at {self.offset}, expected {self.size}: truncated")
        return data

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "offset": self.offset, "size": self.size}
