"""The header of a `.npy` member: data type and shape, without the array.

The header's claim is compared with the bytes that are there, so that no memory is taken for what it claims.
`numpy.load` takes it first.

    npy_header(sample, "mel.npy")     # ("float32", (120, 80))
"""

import io
import math
from tokenize import TokenError

from arl.errors import ArlError
from arl.shards.reader import Sample

UNREADABLE = (  # what numpy's own reader of a header lets through
    ValueError, TypeError, KeyError, SyntaxError, TokenError, EOFError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip
READABLE = ((1, 0), (2, 0))  # 3.0 is for names of fields that are not Latin-1


def npy_header(sample: Sample, extension: str) -> tuple[str, tuple[int, ...]]:
    """(data type by numpy's name, shape). ArlError naming the sample for anything but a whole array of numbers."""
    try:
        return _header(sample.members[extension])
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ArlError(f"{sample.where}: member {extension!r} is not .npy ({reason}); write it again") from error


def _header(data: bytes) -> tuple[str, tuple[int, ...]]:
    import numpy as np

    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in READABLE:
        raise ValueError(f"format version {version[0]}.{version[1]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {list(shape)}")
    stated, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if stated != there:
        raise ValueError(f"{there} bytes, and {stated} by its header")
    return str(dtype), shape
