"""Two evaluations of the same utterances, A and B: what changed, whether by chance, and where.

    result = compare(read_rows(Path("eval/final")), read_rows(Path("eval/start")), seed=0)   # B, then A, the baseline
    result["relative"], result["p"], result["metrics"]["insertion_rate"]["change_high"]

Differences have paired bootstrap intervals (both systems on the same draw of utterances), the error counts the paired
permutation test's p-value (`arl.evaluation.significance`). Left out: a correction for
looking at many sets or many figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from arl.errors import ArlError
from arl.evaluation.bootstrap import SAMPLES, drawn_sums, interval_of, relative
from arl.evaluation.figures import METRICS, WER, WORDS, flat, named_sets, rule_metrics, table
from arl.evaluation.score import error_count
from arl.evaluation.significance import paired_p_value

Row = Mapping[str, Any]
Rows = Sequence[Row]


def paired(rows: Rows, baseline: Rows) -> list[Row]:
    """The rows of `baseline` in the order of `rows`. ArlError unless both are of the same utterances and references."""
    new, old = by_place(rows), by_place(baseline)
    if alone := sorted(set(old) ^ set(new)):
        names = "/".join(filter(None, alone[0]))
        raise ArlError(
            f"--compare: {len(alone)} utterances are in one of the two evaluations only, the first {names}; "
            "evaluate both on the same shards, with the same names of sets"
        )
    for place, row in new.items():
        if row["reference"] != old[place]["reference"]:
            raise ArlError(f"--compare: utterance {place[1]} has another reference there; evaluate both again")
    return [old[place] for place in new]


def by_place(rows: Rows) -> dict[tuple[str, str], Row]:
    """The rows by set and key. ArlError when two have the same."""
    places = {(row["set"], row["key"]): row for row in rows}
    if len(places) < len(rows):
        place = next(place for place, n in Counter((row["set"], row["key"]) for row in rows).items() if n > 1)
        raise ArlError(f"--compare: several utterances {'/'.join(filter(None, place))}; keys in a set must differ")
    return places


def compare(rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """`compare_all` of all utterances, and under "sets" of each named set."""
    baseline = paired(rows, baseline)
    whole = compare_all(rows, baseline, seed)
    sets = {}
    for name, own in named_sets(rows).items():
        pairs = [rows[i] for i in own], [baseline[i] for i in own]
        sets[name] = whole if len(own) == len(rows) else compare_all(*pairs, seed)
    return {**whole, "sets": sets}


def compare_all(rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """`rows` (B) against `baseline` (A), row by row the same utterances, both on the same draws.

    The relative change of the WER with its interval, p, and of every metric {"a", "b", "change", "change_low",
    "change_high"}, nulls where one of the two does not define it.
    """
    import numpy as np

    new, old = table(rows), table(baseline)
    new_sums, old_sums = np.split(drawn_sums(np.concatenate([new, old], axis=1), SAMPLES, seed), 2, axis=1)
    metrics = {}
    for metric in (*METRICS, *rule_metrics()):
        a, b = float(metric.of(old.sum(0))), float(metric.of(new.sum(0)))
        values = {"a": a if np.isfinite(a) else None, "b": b if np.isfinite(b) else None}
        metrics[metric.name] = values | flat("change", interval_of(b - a, metric.of(new_sums) - metric.of(old_sums)))
    whole = float(relative(WER.above(new.sum(0)), WER.above(old.sum(0))))
    change = interval_of(whole, relative(WER.above(new_sums), WER.above(old_sums)))
    return {
        "utterances": len(rows), "words": sum(row[name] for row in rows for name in WORDS),
        "wer": metrics[WER.name]["a"], **flat("relative", change), "p": paired_p_value(WER.above(new), WER.above(old)),
        "metrics": {metric.name: metrics[metric.name] for metric in METRICS},
        "rules": {rule.name: metrics[rule.name] for rule in rule_metrics()},
    }  # fmt: skip


def most_changed(rows: Rows, baseline: Rows, top: int) -> list[tuple[Row, Row]]:
    """(A's row, B's row) of the `top` utterances whose error count changed most, in either direction."""
    pairs = list(zip(paired(rows, baseline), rows, strict=True))
    moved = [pair for pair in pairs if error_count(pair[0]) != error_count(pair[1])]
    moved.sort(key=lambda pair: (-abs(error_count(pair[1]) - error_count(pair[0])), pair[0]["set"], pair[0]["key"]))
    return moved[:top]
