"""Rows of a table with a header line: TSV as it stands, CSV with quotation marks.

A line of the wrong number of fields is a bad row, and so is a quotation mark that is never closed: the lines behind it
are read as if it were not there. In a TSV quotation marks are part of the text. A quoted field of a CSV may go over
several lines unless one of them is a row by itself.

    for place, row in read_rows(Path("test.tsv"), "\t"): ...
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from arl.errors import ArlError
from arl.text.lines import NOT_UTF8, read_each_line

MOST_LINES = 50  # of one quoted field
Rows = Iterator[tuple[str, dict[str, str] | str]]


def read_rows(path: Path, delimiter: str) -> tuple[list[str], Rows]:
    """The columns, and (place, row or what is wrong with it) of each line. Raises ArlError for a header with a column
    twice, and as `read_each_line` does."""
    csv.field_size_limit(sys.maxsize)
    lines = read_each_line(path)
    columns = _fields(lines[0] or "", delimiter) if lines else None
    if not columns:
        raise ArlError(f"{path}:1: no header line with the columns' names")
    if doubled := [name for name in columns if columns.count(name) > 1]:
        raise ArlError(f"{path}:1: the column {doubled[0]!r} comes twice")
    return columns, _rows(path, lines, columns, delimiter)


def _rows(path: Path, lines: Sequence[str | None], columns: list[str], delimiter: str) -> Rows:
    start = 1
    while start < len(lines):
        line, place = lines[start], f"{path}:{start + 1}"
        n_lines, fields = 1, None if line is None else _fields(line, delimiter)
        if line is not None and fields is None:
            n_lines, fields = _over_lines(lines[start : start + MOST_LINES], len(columns), delimiter)
        if line is None:
            yield place, NOT_UTF8
        elif fields is None:
            yield place, "a quotation mark that is not closed, or does not enclose a whole field"
        elif fields and len(fields) != len(columns):
            yield place, f"not {len(columns)} fields as in the header"
        elif fields:
            yield place, dict(zip(columns, fields, strict=True))
        start += n_lines


def _fields(line: str, delimiter: str) -> list[str] | None:
    """The fields of one row, [] of an empty line; None where its quotation marks do not fit."""
    if delimiter == "\t":
        return line.split(delimiter) if line.strip() else []
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _over_lines(lines: Sequence[str | None], n_columns: int, delimiter: str) -> tuple[int, list[str] | None]:
    """A row whose quoted field goes on in the next lines: their number and its fields; (1, None) when it is none."""
    n_marks = (lines[0] or "").count('"')
    for number, line in enumerate(lines[1:], 2):
        if line is None or n_marks % 2 == 0 or _is_row(line, n_columns, delimiter):
            break
        n_marks += line.count('"')
        if n_marks % 2 == 0:
            fields = _fields("\n".join(map(str, lines[:number])), delimiter)
            if fields is not None and len(fields) == n_columns:
                return number, fields
            break
    return 1, None


def _is_row(line: str, n_columns: int, delimiter: str) -> bool:
    fields = _fields(line, delimiter)
    return fields is not None and len(fields) == n_columns
