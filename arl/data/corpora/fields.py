"""The fields of a row in another tool's list: texts, names, seconds and paths, each checked for what it must be.

A list where a text belongs, `true`, NaN, `"end"` for a time, a path with a NUL: each makes the row a bad sample, with
the field in the reason. Numbers that name something (a speaker 7) are names.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def pick(row: Row, names: Sequence[str]) -> Any:
    """The first of the named fields that the row has and that is not empty; '' when there is none."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), "")


def text(row: Row, names: Sequence[str]) -> str:
    """A text; '' when there is none. Raises ValueError for anything else."""
    value = pick(row, names)
    if not isinstance(value, str):
        raise ValueError(f"{_name(row, names)} is {_shown(value)}, not a text")
    return value


def label(row: Row, names: Sequence[str]) -> str:
    """A text or a number, as a text; '' when there is none. Raises ValueError for anything else."""
    value = pick(row, names)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_name(row, names)} is {_shown(value)}, not a name")
    return str(value)


def seconds(row: Row, names: Sequence[str]) -> float | None:
    """A time of 0 s or more; None when there is none. Raises ValueError for anything else."""
    value = pick(row, names)
    if value == "":
        return None
    number = number_of(value)
    if number is None or number < 0:
        raise ValueError(f"{_name(row, names)} is {_shown(value)}, not a number of seconds")
    return number


def number_of(value: Any) -> float | None:
    """A finite number, given as one or as its digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def keywords(value: Any) -> tuple[str, ...]:
    """A list of keywords from a JSON list, or from "one; two". Raises ValueError for a list of something else."""
    words = value if isinstance(value, list) else str(value or "").split(";")
    if isinstance(value, dict | bool) or not all(isinstance(word, str | int) for word in words):
        raise ValueError(f"keywords is {_shown(value)}, not a list of texts")
    return tuple(found for word in words if (found := " ".join(str(word).split())))


def locate(path: str, roots: Sequence[Path]) -> Path:
    """Below the first root that has the file, else below the first. Raises ValueError for what can be no path."""
    if "\0" in path:
        raise ValueError(f"the path {path!r} has a NUL in it")
    try:
        os.fsencode(path)
        places = [root / path for root in roots]
        return next((place for place in places if place.is_file()), places[0])
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"the path {path[:80]!r} cannot be one ({getattr(error, 'strerror', None) or error})"
        ) from error


def json_object(line: str | bytes) -> dict[str, Any]:
    """One JSON object. Raises ValueError for anything else, also for one too deep to read."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not a JSON object") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _name(row: Row, names: Sequence[str]) -> str:
    return next((repr(name) for name in names if row.get(name) not in (None, "")), names[0])


def _shown(value: Any) -> str:
    shown = f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) > 1 << 64 else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
