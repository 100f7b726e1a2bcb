"""The forms that values in a row may have: bounded numbers, ids, texts that UTF-8 can say, lists of them.

JSON has integers of any size and lists of any depth; a shard is untrusted input, so both are bounded here.
"""

import reprlib
from typing import Any, TypeGuard

MAX_ID = 2**63 - 1  # token ids and codes become int64
MAX_DEPTH = 100  # lists and objects in one another
MAX_NAME = 200  # characters of a version or a voice
MAX_NUMBER = (2 - 2**-23) * 2.0**127  # the largest float32: rewards and log-probabilities become float32

CONTAINERS = frozenset((dict, list))
TOO_DEEP = f"lists and objects in one another, more than {MAX_DEPTH} deep"


def is_number(value: Any) -> TypeGuard[float]:
    """An int or a float that float32 can hold, so neither NaN nor infinite; bool is no number."""
    return type(value) in (int, float) and -MAX_NUMBER <= value <= MAX_NUMBER


def are_numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(map(is_number, values))


def are_numbers_or_nulls(values: Any) -> TypeGuard[list[float | None]]:
    return isinstance(values, list) and all(value is None or is_number(value) for value in values)


def are_ids(values: Any) -> TypeGuard[list[int]]:
    """A list of natural numbers that int64 can hold."""
    return (
        isinstance(values, list)
        and set(map(type, values)) <= {int}
        and (not values or (min(values) >= 0 and max(values) <= MAX_ID))
    )


def is_text(value: Any) -> TypeGuard[str]:
    """A string without lone surrogates, which UTF-8 cannot say."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_name(value: Any) -> TypeGuard[str]:
    """A text that can stand in one line, of 200 characters at most."""
    return is_text(value) and 0 < len(value) <= MAX_NAME and value.isprintable()


def are_texts(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(map(is_text, values))


def is_plain(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether every program can read and write it: texts in UTF-8, no list or object in more than `depth` others."""
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, dict):
        return depth > 0 and all(is_text(name) and is_plain(item, depth - 1) for name, item in value.items())
    return not isinstance(value, list) or (depth > 0 and all(is_plain(item, depth - 1) for item in value))


def is_deep(value: Any) -> bool:
    """Whether something in a value is in more than MAX_DEPTH lists and objects; level by level, without recursion."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level and depth < MAX_DEPTH:
        rows = [item.values() if type(item) is dict else item for item in level]
        level = [item for row in rows if not CONTAINERS.isdisjoint(map(type, row)) for item in row
                 if type(item) in CONTAINERS]  # fmt: skip
        depth += 1
    return bool(level)


def shown(value: Any) -> str:
    """A value in an error message: its `repr`, cut when it is long."""
    return reprlib.repr(value)
