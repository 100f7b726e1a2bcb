"""References to audio embeddings: where the raw bytes of a [T, H] tensor lie in a shard.

A request carries `arl:{"path": ..., "offset": ..., "dtype": ..., "shape": [T, H]}` instead of floats; an
uncompressed tar member can be read in place. A request is untrusted, so only `.tar` files are read, below the folders
that a stage of this user has named (a line each in ARL_EMBEDDING_ROOTS_FILE) or, when it is set, of ARL_EMBEDDING_ROOTS
(colon-separated): a link there leads nowhere else. Only imported inside the engine.
"""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from arl.engine.platform import ROOTS_FILE

PREFIX = "arl:"
ROOTS = "ARL_EMBEDDING_ROOTS"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_embedding(reference: Any, hidden: int) -> tuple[torch.Tensor, bytes]:
    """Read what a reference points at: (tensor [T, hidden] in its stored dtype, 32-byte content hash).

    Raises ValueError (HTTP 400) for anything wrong: form, path, size, width, NaN.
    """
    if not isinstance(reference, str) or not reference.startswith(PREFIX):
        raise ValueError(f"audio_data must be strings that start with {PREFIX!r}")
    try:
        fields = json.loads(reference[len(PREFIX) :])
        path, dtype, shape = str(fields["path"]), str(fields["dtype"]), [int(n) for n in fields["shape"]]
        offset = int(fields.get("offset", 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"audio embedding: the reference needs path, offset, dtype and shape ({error!r})") from error
    if dtype not in _DTYPES:
        raise ValueError(f"audio embedding: dtype {dtype!r} is none of {', '.join(_DTYPES)}")
    if len(shape) != 2 or shape[0] < 1 or shape[1] != hidden or offset < 0:
        raise ValueError(f"audio embedding: shape {shape} at offset {offset}; the model wants [T, {hidden}]")
    resolved = _allowed(path)
    try:
        stat = os.stat(resolved)
        # The group's G requests name the same clip: read and check it once. A rewritten shard has a new mtime.
        return _read(str(resolved), offset, dtype, tuple(shape), (stat.st_mtime_ns, stat.st_size, stat.st_ino))
    except OSError as error:
        raise ValueError(f"audio embedding: {error}") from error


def _allowed(path: str) -> Path:
    resolved = Path(path).resolve()  # after links: a link inside a root must not lead out of it
    if resolved.suffix != ".tar":
        raise ValueError(f"audio embedding: {path} is not a .tar shard")
    roots = _roots()
    if roots is not None and not any(resolved.is_relative_to(root) for root in roots):
        raise ValueError(f"audio embedding: {path} leads to {resolved}, outside the folders of shards that were named")
    return resolved


def _roots() -> list[Path] | None:
    """The folders that may be read, links resolved; None when nothing says which."""
    given = [root for root in os.environ.get(ROOTS, "").split(":") if root]
    if not given and ROOTS_FILE in os.environ:
        given = [json.loads(line) for line in Path(os.environ[ROOTS_FILE]).read_text().split("\n") if line]
    elif not given:
        return None
    return [Path(root).resolve() for root in given]


@lru_cache(maxsize=64)
def _read(path: str, offset: int, dtype: str, shape: tuple[int, ...], stamp: tuple) -> tuple[torch.Tensor, bytes]:
    kind = _DTYPES[dtype]
    size = shape[0] * shape[1] * kind.itemsize
    with open(path, "rb") as shard:
        if offset + size > os.fstat(shard.fileno()).st_size:  # before reading: a shape may claim terabytes
            raise ValueError(f"audio embedding: {path} ends before offset {offset} + {size} bytes")
        shard.seek(offset)
        raw = bytearray(shard.read(size))
    if len(raw) != size:
        raise ValueError(f"audio embedding: {path} ends before offset {offset} + {size} bytes")
    tensor = torch.frombuffer(raw, dtype=kind).reshape(shape)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"audio embedding: {path} at offset {offset} has NaN or infinite values")
    digest = hashlib.sha256(f"{dtype} {shape} ".encode() + raw).digest()
    return tensor, digest
