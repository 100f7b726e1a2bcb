"""What recognition and synthesis each state about their evaluation; all else is the same code for both.

A kind has its metrics, the layout of its summary and of a comparison (both are files and `--json`), and what it shows
of them. `arl/evaluation/kinds.py` lists the kinds and tells which one an evaluation is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from arl.evaluation.metric import Metric, Row, Rows
from arl.evaluation.options import EvalOptions, Measured
from arl.evaluation.render import Block, Summary
from arl.evaluation.statistics import Pair


class Kind(Protocol):
    """One kind of evaluation. Its rows are those of `utterances.jsonl`."""

    @property
    def name(self) -> str:
        """The word for it: recognition, synthesis."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What every row has."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is counted over the rows."""

    def measure(self, options: EvalOptions, out: Path) -> Measured:
        """Rows of all utterances. out: the folder of the evaluation, for what a row points to."""

    def require(self, rows: Rows) -> None:
        """ArlError when there is nothing to count in these rows."""

    def summary(self, rows: Rows, seed: int) -> dict[str, Any]:
        """The metrics of these rows (one set, or all of them), as `summary.json` holds them."""

    def comparison(self, pair: Pair, rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
        """How the metrics differ from the baseline's, row by row the same utterances, as `--json` has it."""

    def summary_blocks(self, summary: Summary, width: int) -> Iterator[Block]:
        """A summary with all its sets, and "compared_with", for a person. width: of the terminal, in cells."""

    def report(self, summary: Summary, rows: Rows) -> str:
        """The page `report.md`, empty for none."""

    def comparison_blocks(self, name: str, one: Summary) -> Iterator[Block]:
        """The comparison of one set, for a person. name: the set's, empty where it has none."""

    def most_changed(self, rows: Rows, baseline: Sequence[Row], top: int) -> list[tuple[Row, Row]]:
        """(A's row, B's row) of the utterances whose errors changed most; at most `top`, none where not counted."""

    def changed_blocks(self, a: Row, b: Row, width: int) -> Iterator[Block]:
        """One such utterance for a person."""
