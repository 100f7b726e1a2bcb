"""ONNX files of a few operators, written byte by byte: stand-ins for CosyVoice's speech tokenizer and speaker model.

The wire format is that of protocol buffers; field numbers are of onnx.proto.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType
AS_INT, AS_INTS = 2, 7  # AttributeProto.AttributeType


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> bytes:
    raw = b"".join(block(1, name) for name in inputs) + block(2, output) + block(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            raw += block(5, block(1, name) + number(3, value) + number(20, AS_INT))
        else:
            raw += block(5, block(1, name) + b"".join(number(8, one) for one in value) + number(20, AS_INTS))
    return block(1, raw)


def constant(name: str, values: np.ndarray) -> bytes:
    kind = {"float32": FLOAT, "int64": INT64}[str(values.dtype)]
    dims = b"".join(number(1, size) for size in values.shape)
    return block(5, dims + number(2, kind) + block(8, name) + block(9, values.tobytes()))


def value(field: int, name: str, kind: int, *dims: int | str) -> bytes:
    shape = b"".join(block(1, number(1, dim) if isinstance(dim, int) else block(2, dim)) for dim in dims)
    return block(field, block(1, name) + block(2, block(1, number(1, kind) + block(2, shape))))


def write_model(path: Path, *graph: bytes) -> None:
    path.write_bytes(number(1, 7) + block(7, block(2, "toy") + b"".join(graph)) + block(8, number(2, 13)))


def write_tokenizer(path: Path) -> None:
    """Of every fourth frame of a mel [1, 128, T] the mean, in hundredths: codes [1, T / 4]."""
    places = [constant(name, np.array([size])) for name, size in (("0", 0), ("end", 1 << 30), ("1", 1), ("4", 4))]
    write_model(
        path,
        node("ReduceMean", ["feats"], "mean", axes=[1], keepdims=0),
        constant("hundred", np.array([100.0], dtype=np.float32)),
        node("Mul", ["mean", "hundred"], "large"),
        node("Abs", ["large"], "positive"),
        node("Cast", ["positive"], "whole", to=INT32),
        node("Slice", ["whole", "0", "end", "1", "4"], "indices"),
        *places,
        value(11, "feats", FLOAT, 1, 128, "T"),
        value(11, "feats_length", INT32, 1),
        value(12, "indices", INT32, 1, "n"),
    )


def write_speaker_model(path: Path) -> None:
    """The first 192 of three times the mean of banks [1, T, 80]: [1, 192]."""
    places = [constant(name, np.array([size])) for name, size in (("0", 0), ("192", 192), ("1", 1))]
    write_model(
        path,
        node("Abs", ["input"], "positive"),
        node("ReduceMean", ["positive"], "mean", axes=[1], keepdims=0),
        node("Concat", ["mean", "mean", "mean"], "thrice", axis=1),
        node("Slice", ["thrice", "0", "192", "1"], "output"),
        *places,
        value(11, "input", FLOAT, 1, "T", 80),
        value(12, "output", FLOAT, 1, 192),
    )
