"""Two evaluations of the same utterances, A and B: what changed, over all utterances and by set.

    result = compare(RECOGNITION, rows, baseline, seed=0)      # rows of B, then of A, the baseline
    result["relative"], result["p"], result["metrics"]["insertion_rate"]["change_high"]

Differences have paired bootstrap intervals and p-values of the paired permutation test (`arl.evaluation.statistics`).
"""

from collections import Counter
from typing import Any

from arl.errors import ArlError
from arl.evaluation.kind import Kind
from arl.evaluation.metric import Row, Rows
from arl.evaluation.statistics import Pair
from arl.evaluation.summary import named_sets


def compare(kind: Kind, rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """`rows` (B) against `baseline` (A): all utterances, and under "sets" each named set.

    ArlError unless both are of the same utterances and references.
    """
    old = paired(rows, baseline)

    def of(new: Rows, old: Rows) -> dict[str, Any]:
        return kind.comparison(Pair.of(kind.metrics, new, old, seed), new, old, seed)

    whole = of(rows, old)
    sets = {}
    for name, own in named_sets(rows).items():
        sets[name] = whole if len(own) == len(rows) else of([rows[i] for i in own], [old[i] for i in own])
    return {**whole, "sets": sets}


def paired(rows: Rows, baseline: Rows) -> list[Row]:
    """The rows of `baseline` in the order of `rows`. ArlError unless both are of the same utterances and references."""
    new, old = by_name(rows), by_name(baseline)
    if alone := sorted(set(old) ^ set(new)):
        names = "/".join(filter(None, alone[0]))
        raise ArlError(
            f"--compare: {len(alone)} utterances are in one of the two evaluations only, the first {names}; "
            "evaluate both on the same shards, with the same names of sets"
        )
    for name, row in new.items():
        if row["reference"] != old[name]["reference"]:
            raise ArlError(f"--compare: utterance {name[1]} has another reference there; evaluate both again")
    return [old[name] for name in new]


def by_name(rows: Rows) -> dict[tuple[str, str], Row]:
    """The rows by set and key. ArlError when two have the same."""
    named = {(row.get("set", ""), row["key"]): row for row in rows}
    if len(named) < len(rows):
        counts = Counter((row.get("set", ""), row["key"]) for row in rows)
        name = next(name for name, n in counts.items() if n > 1)
        raise ArlError(f"--compare: several utterances {'/'.join(filter(None, name))}; keys in a set must differ")
    return named
