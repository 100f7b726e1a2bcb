"""Reads CTranslate2's `model.bin`: named arrays, without CTranslate2.

The format (version 6): little-endian; a string is a uint16 length and bytes ending in NUL; the header is the version
(uint32), the name of the model's kind, its revision (uint32) and the number of variables (uint32); a variable is its
name, its rank (uint8), that many uint32 sizes, a type (uint8), its bytes (uint32) and the values; then come the
aliases, pairs of names. Left out: quantised models' scales are returned like any array.
"""

import struct
from pathlib import Path

import numpy as np

from arl.errors import ArlError

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a CTranslate2 model, aliases resolved. Raises ArlError when the file is not a whole one."""
    try:
        return _Reader(path.read_bytes()).variables()
    except (struct.error, ValueError, KeyError) as error:
        raise ArlError(f"{path}: not a CTranslate2 model, or not a whole one ({error})") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self.content, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        size = self.number("H")
        text = self.content[self.at : self.at + size].rstrip(b"\0").decode()
        self.at += size
        return text

    def variables(self) -> dict[str, np.ndarray]:
        self.number("I")
        self.string()
        self.number("I")
        variables: dict[str, np.ndarray] = {}
        for _ in range(self.number("I")):
            name = self.string()
            shape = [self.number("I") for _ in range(self.number("B"))]
            dtype = np.dtype(TYPES[self.number("B")])
            size = self.number("I")
            values = np.frombuffer(self.content, dtype, size // dtype.itemsize, self.at)
            variables[name] = values.reshape(shape)
            self.at += size
        if self.at < len(self.content):
            for _ in range(self.number("I")):
                alias = self.string()
                variables[alias] = variables[self.string()]
        return variables
