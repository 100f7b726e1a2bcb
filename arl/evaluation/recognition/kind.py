"""The evaluation of recognition: how `summary.json` and a comparison hold its metrics.

summarise(RECOGNITION, rows, seed=0)["keyword_f1_low"]
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.evaluation.bootstrap import Interval, flat, interval_of, relative
from arl.evaluation.metric import Row, Rows
from arl.evaluation.options import EvalOptions, Measured
from arl.evaluation.recognition import show
from arl.evaluation.recognition.metrics import EXPECTED, FOUND, HEARD, METRICS, RULE_METRICS, WER, WRONG
from arl.evaluation.recognition.run import measure
from arl.evaluation.recognition.score import ERRORS, KEYWORDS, error_count
from arl.evaluation.render import Block, Summary
from arl.evaluation.statistics import Pair, intervals
from arl.text.hallucination import RULES
from arl.text.tags import language
from arl.text.wer import counts_characters


class Recognition:
    """Greedy transcripts against references."""

    name = "recognition"
    fields = (
        "set", "key", "lang", "reference", *ERRORS, *(f"keywords_{name}" for name in KEYWORDS), "rules", "alignment",
    )  # fmt: skip
    metrics = (*METRICS, *RULE_METRICS)

    def measure(self, options: EvalOptions, out: Path) -> Measured:
        return measure(options, out)

    def require(self, rows: Rows) -> None:
        if not sum(map(WER.denominator, rows)):
            raise ArlError("eval: no utterance with reference words")

    def summary(self, rows: Rows, seed: int) -> dict[str, Any]:
        found = intervals(self.metrics, rows, seed)
        result: dict[str, Any] = {
            "utterances": len(rows), "words": sum(map(WER.denominator, rows)),
            "correct_utterances": sum(not error_count(row) for row in rows),
            **{name: sum(row[name] for row in rows) for name in (*WRONG, FOUND, EXPECTED, HEARD)},
            "hallucinated": sum(bool(row["rules"]) for row in rows),
        }  # fmt: skip
        for metric in METRICS:
            result |= flat(metric.name, found[metric.name])
        result["rules"] = {
            rule: {"utterances": sum(rule in row["rules"] for row in rows), **flat("rate", found[rule])}
            for rule in RULES
        }
        return result | {"languages": by_language(rows, found["wer"], seed)}

    def comparison(self, pair: Pair, rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
        """The relative change of the WER with its interval and p, then every metric's change."""
        changes, wer = pair.changes(), pair.metrics.index(WER)
        errors = pair.new[:, wer, 0].sum(), pair.old[:, wer, 0].sum()
        draws = relative(pair.draws[:, 0, wer, 0], pair.draws[:, 1, wer, 0])
        p = changes[WER.name].pop("p")
        return {
            "utterances": len(rows), "words": sum(map(WER.denominator, rows)), "wer": changes[WER.name]["a"],
            **flat("relative", interval_of(float(relative(*errors)), draws)), "p": p,
            "metrics": {metric.name: changes[metric.name] for metric in METRICS},
            "rules": {rule: changes[rule] for rule in RULES},
        }  # fmt: skip

    def summary_blocks(self, summary: Summary, width: int) -> Iterator[Block]:
        return show.summary_blocks(summary, width)

    def report(self, summary: Summary, rows: Rows) -> str:
        return ""

    def comparison_blocks(self, name: str, one: Summary) -> Iterator[Block]:
        return show.comparison_blocks(name, one)

    def most_changed(self, rows: Rows, baseline: Sequence[Row], top: int) -> list[tuple[Row, Row]]:
        """In either direction, by the number of errors."""
        pairs = [pair for pair in zip(baseline, rows, strict=True) if moved(*pair)]
        return sorted(pairs, key=lambda pair: (-abs(moved(*pair)), pair[0]["set"], pair[0]["key"]))[:top]

    def changed_blocks(self, a: Row, b: Row, width: int) -> Iterator[Block]:
        return show.aligned_blocks(a, b, width)


RECOGNITION = Recognition()


def moved(a: Row, b: Row) -> int:
    """Errors of B less those of A."""
    return error_count(b) - error_count(a)


def by_language(rows: Rows, whole: Interval | None, seed: int) -> dict[str, dict[str, Any]]:
    """Error rate and its unit per language code, in the code's order. whole: the rate of all rows."""
    found = {}
    for code in sorted({language(row["lang"]) for row in rows}):
        own = [row for row in rows if language(row["lang"]) == code]
        rate = flat("wer", whole if len(own) == len(rows) else intervals([WER], own, seed)["wer"])
        unit = "characters" if counts_characters(code) else "words"
        found[code] = {"utterances": len(own), "unit": unit, "length": sum(map(WER.denominator, own)), **rate}
    return found
