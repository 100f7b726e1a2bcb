"""The summary of an evaluation: its metrics over all utterances, and of each named set.

    summarise(RECOGNITION, rows, seed=0)["sets"]["long"]["wer_low"]

Left out: weighting sets or languages; a rate over several is that of all their words and characters together.
"""

from typing import Any

from arl.evaluation.kind import Kind
from arl.evaluation.metric import Rows


def summarise(kind: Kind, rows: Rows, seed: int) -> dict[str, Any]:
    """The summary of all rows, and under "sets" of each named set. ArlError when there is nothing to count."""
    kind.require(rows)
    whole = kind.summary(rows, seed)
    sets = {}
    for name, own in named_sets(rows).items():
        sets[name] = whole if len(own) == len(rows) else kind.summary([rows[i] for i in own], seed)
    return {**whole, "sets": sets}


def named_sets(rows: Rows) -> dict[str, list[int]]:
    """Which rows each named set has, in the order in which the sets come."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if name := row.get("set"):
            places.setdefault(name, []).append(place)
    return places
