"""The end marker: the last member of every shard of ours, without which it is refused.

A tar cut at a member boundary reads as a shorter tar without an error. So `__end__` holds the number of samples,
a digest of everything before it, and a fingerprint of what made the shard. webdataset skips names of the form
`__x__`, so a plain `webdataset.WebDataset` reads our shards unchanged.

    marker = read_marker(Path("rollout/000003.tar"))     # reads the file's tail only
    if marker is not None and marker.fingerprint == wanted: ...  # done already
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.tar import BLOCK, CLOSING, RECORD, ZEROS, padding, parse_header

END = "__end__"
MAX_MARKER = 1 << 16  # bytes


@dataclass(frozen=True)
class EndMarker:
    """samples: how many the shard holds. sha256: hex digest of its members.

    fingerprint: names what it was made from (`arl.shards.fingerprint`), or "".
    """

    samples: int
    sha256: str
    fingerprint: str

    def to_json(self) -> bytes:
        fields = {"made": self.fingerprint, "samples": self.samples, "sha256": self.sha256}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def parse_marker(data: bytes) -> EndMarker | None:
    """The content of an `__end__` member, or None when it is not what we write."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    samples, sha256, fingerprint = fields.get("samples"), fields.get("sha256"), fields.get("made")
    if type(samples) is not int or samples < 0 or not isinstance(sha256, str) or not isinstance(fingerprint, str):
        return None
    return EndMarker(samples, sha256, fingerprint) if re.fullmatch("[0-9a-f]{64}", sha256) else None


def update_digest(digest: Any, name: str, data: bytes) -> None:
    """Adds one member to a hashlib digest: its name, its size in bytes, its bytes."""
    digest.update(f"{name}\0{len(data)}\0".encode())
    digest.update(data)


def read_marker(path: Path) -> EndMarker | None:
    """The end marker of the shard at `path`, from the file's tail; None: no such file, truncated, or not ours.

    It does not look at what is before the marker: `read_shard` and `arl check` do.
    Raises ArlError when the file is there and cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            if not stream.seekable():
                return None
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - (MAX_MARKER + BLOCK + CLOSING + RECORD)) // BLOCK * BLOCK
            stream.seek(start)
            tail = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArlError(f"{path}: cannot be read ({error.strerror})") from error
    return marker_in_tail(tail)


def marker_in_tail(tail: bytes) -> EndMarker | None:
    """The end marker that these last bytes of a shard, whole blocks, end with; None when they do not."""
    end = len(tail.rstrip(b"\0"))
    end += padding(end)  # of the block where the marker's JSON ends
    zeros = len(tail) - end
    if len(tail) % BLOCK or not CLOSING <= zeros < CLOSING + RECORD:
        return None
    for start in range(end - 2 * BLOCK, -1, -BLOCK):
        block = tail[start : start + BLOCK]
        if not block.startswith(END.encode() + b"\0") or block == ZEROS:
            continue
        info = parse_header(block)
        if info is not None and start + BLOCK + info.size + padding(info.size) == end:
            return parse_marker(tail[start + BLOCK : start + BLOCK + info.size])
    return None
