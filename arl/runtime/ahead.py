"""Reading one item ahead: a thread reads the next shard while the device works on this one.

    for samples in ahead(list(read_joined(inputs)) for _, inputs in shards): ...

Only what needs no device belongs there. An error of the reading is raised where its item would have come.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order; while one is used the next is made in a thread, and never more than that one."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # type: ignore[misc]
