"""One item ahead: order, errors in their place, and never more than one."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.runtime.ahead import ahead


@given(st.lists(st.integers()))
def test_the_same_items(items: list[int]) -> None:
    assert list(ahead(items)) == items


def test_the_next_item_is_made_while_one_is_used() -> None:
    made, begun = [], threading.Event()

    def items() -> Iterator[int]:
        for index in range(4):
            made.append(index)
            if index == 1:
                begun.set()
            yield index

    for index in ahead(items()):
        if index == 0:
            assert begun.wait(10)
        time.sleep(0.02)
        assert len(made) <= index + 2


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("unreadable")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="unreadable"):
        next(coming)


def test_an_abandoned_reading_ends() -> None:
    coming = ahead(iter(range(10)))
    assert next(coming) == 0
    coming.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
