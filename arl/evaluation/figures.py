"""The figures of an evaluation: each a ratio of sums over utterances, with its 95 % bootstrap interval.

    figures(rows, seed=0)["wer"], figures(rows, seed=0)["keyword_f1_low"]

WER, Sub, Del, Ins are per reference word (per character where the language has no spaces: then WER is CER); keyword
recall, precision and F1 are over all keyword occurrences of the set; hallucination rates are per utterance. All
intervals of a set are of the same draws of utterances (`arl.evaluation.bootstrap`). Left out: weighting sets
or languages; the rate over several is that of all their words and characters together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arl.errors import ArlError
from arl.evaluation.bootstrap import SAMPLES, Interval, drawn_sums, interval_of
from arl.text.hallucination import RULES
from arl.text.normalise import language
from arl.text.wer import counts_characters

if TYPE_CHECKING:
    import numpy as np


Rows = Sequence[Mapping[str, Any]]

COUNTS = (
    "substitutions", "deletions", "insertions", "hits",
    "keywords_matched", "keywords_in_reference", "keywords_in_hypothesis",
)  # fmt: skip
COLUMNS = (*COUNTS, "utterances", "hallucinated")  # then one per hallucination rule


@dataclass(frozen=True)
class Metric:
    """Σ of the columns in `numerator` / Σ of those in `denominator`; a column named twice counts twice."""

    name: str
    label: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]

    def above(self, sums: "np.ndarray") -> "np.ndarray":
        """The numerator. sums: [..., columns] → [...]."""
        return self._add(self.numerator, sums)

    def of(self, sums: "np.ndarray") -> "np.ndarray":
        """sums: [..., columns] → [...], NaN where the denominator is 0."""
        import numpy as np

        below = self._add(self.denominator, sums)
        return np.where(below > 0, self.above(sums) / np.maximum(below, 1), np.nan)

    def _add(self, names: tuple[str, ...], sums: "np.ndarray") -> "np.ndarray":
        return sums[..., [all_columns().index(name) for name in names]].sum(-1)


WORDS = ("substitutions", "deletions", "hits")
FOUND, EXPECTED, HEARD = "keywords_matched", "keywords_in_reference", "keywords_in_hypothesis"
WER = Metric("wer", "WER", ("substitutions", "deletions", "insertions"), WORDS)
METRICS = (
    WER,
    Metric("substitution_rate", "Sub", ("substitutions",), WORDS),
    Metric("deletion_rate", "Del", ("deletions",), WORDS),
    Metric("insertion_rate", "Ins", ("insertions",), WORDS),
    Metric("keyword_recall", "keyword recall", (FOUND,), (EXPECTED,)),
    Metric("keyword_precision", "keyword precision", (FOUND,), (HEARD,)),
    Metric("keyword_f1", "keyword F1", (FOUND, FOUND), (EXPECTED, HEARD)),
    Metric("hallucination_rate", "hallucinated", ("hallucinated",), ("utterances",)),
)


def rule_metrics() -> tuple[Metric, ...]:
    """The rate of each hallucination rule by itself."""
    return tuple(Metric(rule, f"  {rule}", (rule,), ("utterances",)) for rule in RULES)


def all_columns() -> tuple[str, ...]:
    return (*COLUMNS, *RULES)


def table(rows: Rows) -> "np.ndarray":
    """Counts of each row, [utterances, `all_columns()`], int64."""
    import numpy as np

    lines = [
        [*(row[name] for name in COUNTS), 1, bool(row["rules"]), *(rule in row["rules"] for rule in RULES)]
        for row in rows
    ]
    return np.array(lines, dtype=np.int64)


def intervals(rows: Rows, metrics: Sequence[Metric], seed: int) -> dict[str, Interval | None]:
    """Each metric by its name with its interval, all of the same draws; None where nothing defines it."""
    counts = table(rows)
    sums = drawn_sums(counts, SAMPLES, seed)
    return {metric.name: interval_of(float(metric.of(counts.sum(0))), metric.of(sums)) for metric in metrics}


def flat(name: str, interval: Interval | None) -> dict[str, float | None]:
    """{name, name_low, name_high} of an interval; nulls where it is not defined."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def figures(rows: Rows, seed: int) -> dict[str, Any]:
    """Every figure of these rows (one set, or all of them), as `summary.json` holds them."""
    rules = rule_metrics()
    found = intervals(rows, (*METRICS, *rules), seed)
    totals = dict(zip(all_columns(), map(int, table(rows).sum(0)), strict=True))
    result: dict[str, Any] = {
        "utterances": len(rows),
        "words": sum(totals[name] for name in WORDS),
        "correct_utterances": sum(not any(row[name] for name in WER.numerator) for row in rows),
        **{name: totals[name] for name in (*WER.numerator, FOUND, EXPECTED, HEARD, "hallucinated")},
    }
    for metric in METRICS:
        result |= flat(metric.name, found[metric.name])
    result["rules"] = {rule.name: {"utterances": totals[rule.name], **flat("rate", found[rule.name])} for rule in rules}
    return result | {"languages": by_language(rows, found["wer"], seed)}


def by_language(rows: Rows, whole: Interval | None, seed: int) -> dict[str, dict[str, Any]]:
    """Error rate and its unit per language code, in the code's order. whole: the rate of all rows."""
    found = {}
    for code in sorted({language(row["lang"]) for row in rows}):
        own = [row for row in rows if language(row["lang"]) == code]
        rate = flat("wer", whole if len(own) == len(rows) else intervals(own, [WER], seed)["wer"])
        words = sum(row[name] for row in own for name in WORDS)
        unit = "characters" if counts_characters(code) else "words"
        found[code] = {"utterances": len(own), "unit": unit, "length": words, **rate}
    return found


def summarise(rows: Rows, seed: int) -> dict[str, Any]:
    """The figures over all rows, and under "sets" those of each named set. ArlError when there is nothing to count."""
    if not rows or not sum(row[name] for row in rows for name in WORDS):
        raise ArlError("eval: no utterance with reference words")
    whole = figures(rows, seed)
    sets = {}
    for name, own in named_sets(rows).items():
        sets[name] = whole if len(own) == len(rows) else figures([rows[i] for i in own], seed)
    return {**whole, "sets": sets}


def named_sets(rows: Rows) -> dict[str, list[int]]:
    """Which rows each named set has, in the order in which the sets come."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row["set"]:
            places.setdefault(row["set"], []).append(place)
    return places
