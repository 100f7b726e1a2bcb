"""The columns of a sample: their member names, deterministic JSON, and tensors as safetensors.

Tensors can be read in place: an uncompressed tar member has a byte offset, so `tensor_reference` names a tensor by
(path, offset, dtype, shape) instead of its numbers. Data types have torch's names ("bfloat16"). numpy has no
bfloat16: such tensors are given as torch tensors, or as raw bytes with a dtype and a shape. torch is not imported.

    members = {EMB: save_tensor("emb", embeddings), PROMPT: dumps({"input_ids": ids})}
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from arl.errors import ArlError
from arl.shards.paths import STDIN
from arl.shards.reader import Sample

AUDIO = ("wav", "flac", "mp3")
META = "json"
EMB = "emb.safetensors"
EMB_TENSOR = "emb"  # [T, H] in EMB
PROMPT = "prompt.json"
FEAT = "feat.safetensors"
CODES = "codes.json"  # of a recording, by a synthesis policy's speech tokenizer
ROLLOUT = "rollout.json"
NO_WAVE = "wav.json"  # why a row of the wav column has no waveform: {"error"}
REWARD = "reward.json"

# safetensors' code: (torch's name, bytes an element)
DTYPES = {
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "F16": ("float16", 2), "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8),
}  # fmt: skip
ITEM_BYTES = dict(DTYPES.values())
MAX_DIMENSIONS = 64  # what numpy and torch can hold


PLAIN_JSON = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a safetensors member: dtype by torch's name, shape, and where its bytes lie in the member."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def dumps(value: Any) -> bytes:
    """Deterministic JSON in UTF-8: sorted keys, no spaces. Raises ArlError for NaN, infinities and lone surrogates."""
    with suppress(TypeError):  # has no form in orjson: large integers, lone surrogates
        data = orjson.dumps(value, option=PLAIN_JSON)
        if b"null" not in data or not _culprit(value):  # it writes NaN as null
            return data
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError) as error:
        raise ArlError(f"cannot be written as JSON{_culprit(value)}: {error}") from error


def _culprit(value: Any, place: str = "") -> str:
    """Where in `value` the first number or text is that JSON has no form for; "" when there is none."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f" ({value} at {place or 'top'})"
    if isinstance(value, str):
        return f" (text at {place or 'top'})" if any("\ud800" <= c <= "\udfff" for c in value) else ""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((found for key, item in items if (found := _culprit(item, f"{place}.{key}"))), "")


def save_tensor(name: str, array: Any, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> bytes:
    """A safetensors container with one tensor.

    array: a numpy array, a torch tensor (any device, any layout), or raw little-endian bytes with `dtype` (torch's
    name, "bfloat16") and `shape`. Raises ArlError when they do not fit or the type has no safetensors form.
    """
    from safetensors import TensorSpec, serialize

    owner, pointer, size, dtype, shape = _memory(array, dtype, shape)
    if dtype not in ITEM_BYTES or size != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ArlError(f"tensor {name!r}: {size} bytes are no {dtype} of shape {list(shape)} that safetensors can hold")
    data = bytes(serialize({name: TensorSpec(dtype=dtype, shape=shape, data_ptr=pointer, data_len=size)}))
    del owner  # it kept the memory behind the pointer alive until here
    return data


def _memory(array: Any, dtype: str | None, shape: tuple[int, ...] | None) -> tuple[Any, int, int, str, tuple[int, ...]]:
    """(object that owns the memory, address, bytes, dtype, shape) of a dense little-endian copy or the array itself."""
    torch = sys.modules.get("torch")  # a torch tensor cannot be here without it
    if torch is not None and isinstance(array, torch.Tensor):
        dense = array.detach().cpu().contiguous()
        return dense, dense.data_ptr(), dense.nbytes, str(dense.dtype).removeprefix("torch."), tuple(dense.shape)
    import numpy as np

    if isinstance(array, bytes | bytearray | memoryview):
        if dtype is None or shape is None:
            raise TypeError("raw bytes need a dtype and a shape")
        raw = np.frombuffer(array, dtype=np.uint8)
        return raw, raw.ctypes.data, raw.nbytes, dtype, tuple(shape)
    dense = np.asarray(array)
    dense = dense.astype(dense.dtype.newbyteorder("<"), order="C", copy=False)
    return dense, dense.ctypes.data, dense.nbytes, dense.dtype.name, dense.shape


def tensor_headers(sample: Sample, extension: str) -> dict[str, TensorInfo]:
    """The tensors of a safetensors member, by name, sorted. Raises ArlError when its header does not fit its bytes."""
    data = sample.members.get(extension)
    if data is None:
        there = ", ".join(sample.members) or "nothing"
        raise ArlError(f"{sample.where}: no member {extension!r}, only {there}; join the folder that holds it")
    try:
        length = int.from_bytes(data[:8], "little")
        start = 8 + length
        if start > len(data):
            raise ValueError("the header is longer than the member")
        header = json.loads(data[8:start].decode(), object_pairs_hook=_named_once, parse_int=_natural)
        if not all(isinstance(text, str) for text in header.pop("__metadata__", {}).values()):
            raise ValueError("__metadata__ maps names to texts")
        tensors = {name: _tensor_info(header[name], start) for name in sorted(header)}
        _require_filled(tensors, start, len(data))
        return tensors
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArlError(f"{sample.where}: member {extension!r} is not safetensors; write it again") from error


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two tensors of one name, which one is meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    "".join(found).encode()  # ValueError for a lone surrogate
    return found


def _natural(digits: str) -> int:
    if digits.startswith("-"):
        raise ValueError("shape and offsets are natural numbers")
    return int(digits)


def _require_filled(tensors: Mapping[str, TensorInfo], start: int, end: int) -> None:
    """The format's rule: the tensors' bytes lie one behind the other, without gaps, up to the end."""
    at = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.size)):
        if tensor.start != at:
            raise ValueError("gaps or overlaps")
        at += tensor.size
    if at != end:
        raise ValueError("data_offsets do not fit")


def _tensor_info(entry: Any, start: int) -> TensorInfo:
    dtype, item_bytes = DTYPES[entry["dtype"]]
    shape = tuple(entry["shape"])
    first, last = entry["data_offsets"]
    if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in (*shape, first, last)):
        raise ValueError("shape and offsets are natural numbers")
    if last - first != math.prod(shape) * item_bytes:
        raise ValueError("data_offsets do not fit")
    return TensorInfo(dtype, shape, start + first, last - first)


def tensor_info(sample: Sample, extension: str, name: str) -> TensorInfo:
    """One tensor of a safetensors member. ArlError where there is none of this name, as `tensor_headers` else."""
    tensors = tensor_headers(sample, extension)
    if name not in tensors:
        there = ", ".join(map(repr, tensors)) or "none"
        raise ArlError(f"{sample.where}: no tensor {name!r} in member {extension!r}, only {there}")
    return tensors[name]


def tensor_reference(sample: Sample, extension: str, name: str) -> dict[str, Any]:
    """Where the raw bytes of a tensor lie: {"path": absolute, "offset": bytes into the file, "dtype", "shape": [..]}.

    Raises ArlError when there is no such tensor, or when the shard came through a pipe (`spooled` makes it a file).
    """
    tensor = tensor_info(sample, extension, name)
    if extension not in sample.offsets or str(sample.offsets[extension][0]) == STDIN:
        raise ArlError(f"{sample.where}: not in a file of its own, cannot be read in place; write it to a shard first")
    path, offset, _ = sample.offsets[extension]
    place = {"path": os.path.abspath(path), "offset": offset + tensor.start}
    return {**place, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def read_tensor(sample: Sample, extension: str, name: str) -> Any:
    """The tensor as a numpy array of its own dtype; bfloat16 becomes float32, with equal values.

    Raises ArlError when it is missing or of a type that numpy does not have (float8).
    """
    return tensor_values(sample, extension, name, tensor_info(sample, extension, name))


def tensor_values(sample: Sample, extension: str, name: str, tensor: TensorInfo) -> Any:
    """`read_tensor` of one that `tensor_headers` has found already."""
    import numpy as np

    data = sample.members[extension][tensor.start : tensor.start + tensor.size]
    if tensor.dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(data, dtype="<u2").astype("<u4") << 16).view("<f4").reshape(tensor.shape)
    if tensor.dtype.startswith("float8"):
        raise ArlError(f"{sample.where}: tensor {name!r} is {tensor.dtype}, which numpy does not have; read with torch")
    return np.frombuffer(data, dtype=np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)
