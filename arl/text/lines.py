r"""The lines of a text file: only \n and \r\n end one, and it is UTF-8, with or without a byte-order mark.

`str.splitlines`, universal newlines and `open` in text mode end lines at other characters too (U+2028, U+0085, vertical
tab, a lone \r), which stand inside transcripts: half a transcript would be read without a word.

    for number, line in enumerate(read_lines(Path("prompts.txt")), 1): ...
"""

import codecs
from pathlib import Path

from arl.errors import ArlError

NOT_UTF8 = "not UTF-8 text"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path, what: str = "") -> list[str]:
    """The lines without their ends. what: said behind the reason when the file cannot be read.

    Raises ArlError naming the file, and the line that is not UTF-8.
    """
    lines = read_each_line(path, what)
    return [line if line is not None else _refuse(path, number) for number, line in enumerate(lines, 1)]


def read_each_line(path: Path, what: str = "") -> list[str | None]:
    """As `read_lines`, for lists in which one bad line is one bad sample: None is a line that is not UTF-8."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArlError(f"{path}: cannot be read ({reason})" + (f"; {what}" if what else "")) from error
    if data.startswith(UTF16):
        raise ArlError(f"{path}: {NOT_UTF8} but UTF-16; save it as UTF-8")
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not lines[-1]:
        del lines[-1]
    return [_decoded(line.removesuffix(b"\r")) for line in lines]


def _decoded(line: bytes) -> str | None:
    try:
        return None if b"\0" in line else line.decode()  # a NUL is in no text, but in UTF-16 without its mark
    except UnicodeDecodeError:
        return None


def _refuse(path: Path, number: int) -> str:
    raise ArlError(f"{path}: {NOT_UTF8} in line {number}; save it as UTF-8")
