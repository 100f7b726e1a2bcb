"""Two evaluations of the same utterances, A and B: what changed, whether by chance, and where.

    result = compare(read_rows(Path("eval/final")), read_rows(Path("eval/start")), seed=0)   # B, then A, the baseline
    result["relative"], result["p"], result["metrics"]["insertion_rate"]["change_high"]

Differences have paired bootstrap intervals (both systems on the same draw of utterances), the error counts the paired
permutation test's p-value (`arl.text.significance`). Left out: a correction for looking at many sets or many figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from arl.errors import ArlError
from arl.evaluation.figures import METRICS, WER, WORDS, Metric, flat, rule_metrics, table
from arl.evaluation.score import error_count

Row = Mapping[str, Any]
Rows = Sequence[Row]


def paired(rows: Rows, baseline: Rows) -> list[Row]:
    """The rows of `baseline` in the order of `rows`. ArlError unless both are of the same utterances and references."""
    old = {(row["set"], row["key"]): row for row in baseline}
    new = {(row["set"], row["key"]): row for row in rows}
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


def compare(rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """`compare_all` of all utterances, and under "sets" of each named set."""
    baseline = paired(rows, baseline)
    names = dict.fromkeys(row["set"] for row in rows if row["set"])
    sets = {}
    for name in names:
        pairs = [(b, a) for b, a in zip(rows, baseline, strict=True) if b["set"] == name]
        sets[name] = compare_all([b for b, _ in pairs], [a for _, a in pairs], seed)
    return {**compare_all(rows, baseline, seed), "sets": sets}


def compare_all(rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """`rows` (B) against `baseline` (A), row by row the same utterances.

    The relative change of the WER with its interval, p, and every metric of both with the change and its interval.
    """
    import numpy as np

    from arl.text.bootstrap import paired_relative
    from arl.text.significance import paired_p_value

    errors, old_errors = (np.array([error_count(row) for row in side]) for side in (rows, baseline))
    change = paired_relative(errors, old_errors, seed=seed)
    metrics = changes(rows, baseline, (*METRICS, *rule_metrics()), seed)
    return {
        "utterances": len(rows), "words": sum(row[name] for row in rows for name in WORDS),
        "wer": metrics[WER.name]["a"], **flat("relative", change), "p": paired_p_value(errors, old_errors),
        "metrics": {metric.name: metrics[metric.name] for metric in METRICS},
        "rules": {rule.name: metrics[rule.name] for rule in rule_metrics()},
    }  # fmt: skip


def changes(rows: Rows, baseline: Rows, metrics: Sequence[Metric], seed: int) -> dict[str, dict[str, Any]]:
    """{"a", "b", "change", "change_low", "change_high"} of each metric; nulls where one system does not define it."""
    import numpy as np

    from arl.text.bootstrap import SAMPLES, drawn_sums, interval_of

    new, old = table(rows), table(baseline)
    sums = drawn_sums(np.concatenate([new, old], axis=1), SAMPLES, seed)
    new_sums, old_sums = sums[:, : new.shape[1]], sums[:, new.shape[1] :]
    found = {}
    for metric in metrics:
        a, b = float(metric.of(old.sum(0))), float(metric.of(new.sum(0)))
        change = interval_of(b - a, metric.of(new_sums) - metric.of(old_sums))
        values = {"a": a if np.isfinite(a) else None, "b": b if np.isfinite(b) else None}
        found[metric.name] = {**values, **flat("change", change)}
    return found


def most_changed(rows: Rows, baseline: Rows, top: int) -> list[tuple[Row, Row]]:
    """(A's row, B's row) of the `top` utterances whose error count changed most, in either direction."""
    pairs = list(zip(paired(rows, baseline), rows, strict=True))
    moved = [pair for pair in pairs if error_count(pair[0]) != error_count(pair[1])]
    moved.sort(key=lambda pair: (-abs(error_count(pair[1]) - error_count(pair[0])), pair[0]["set"], pair[0]["key"]))
    return moved[:top]
