"""Evaluations of several arms and seeds → the table of `make table2`, in Markdown, and its plot.

    python examples/tts/table2.py runs/table2/runs -o examples/tts/RESULTS.md --plot examples/tts/table2.png

RUNS/base is the starting policy's evaluation, RUNS/ARM/SEED/final each run's: folders of `arl eval` on the same
texts. Metrics are pooled over the seeds of an arm, with intervals over utterances and seeds (arl/evaluation/arms.py).
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from arl.errors import ArlError
from arl.evaluation.arms import against_each_other, cell, change, draw_changes, each_seed, find_runs, place, pooled
from arl.evaluation.folder import read_rows
from arl.evaluation.metric import table
from arl.evaluation.picture import picture
from arl.evaluation.render import markdown_table
from arl.evaluation.synthesis.kind import SYNTHESIS
from arl.evaluation.synthesis.metrics import METRICS

BASE = "base"
BEGIN, END = "<!-- table2: written by make table2 -->", "<!-- table2: end -->"
NAMES = {
    "base": "base", "diffro-R1": "DiffRO, R1", "grpo-R1": "GRPO, R1", "combined-R1": "GRPO + DiffRO, R1",
    "filter-R1": "GRPO + DiffRO + filter, R1", "filter-R12": "GRPO + DiffRO + filter, R1,2",
    "filter-R123": "GRPO + DiffRO + filter, R1,2,3",
}  # fmt: skip
PLACES = {metric.name: place for place, metric in enumerate(METRICS)}
COLUMNS = ("cer", "mos", "f0_std", "token_diversity", "truncated", "characters_per_s")  # of the second table


@dataclass(frozen=True)
class Arm:
    """One row of the table. sums: [seeds, utterances, metrics, 2], numerators and denominators."""

    name: str
    sums: np.ndarray

    def of(self, metric: str) -> np.ndarray:
        """[seeds, utterances, 2] of one metric."""
        return self.sums[:, :, PLACES[metric]]


def main(
    runs: Annotated[Path, typer.Argument(help="The folder with base/ and ARM/SEED/final/.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Markdown to write; of a page with the two marks, what is between them.")
    ],
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture to write (needs matplotlib).")] = None,
) -> None:
    """Make Table 2 from the evaluations of its runs.

    Example: python examples/tts/table2.py runs/table2/runs -o TABLE2.md --plot table2.png
    """
    arms = read_arms(runs)
    text = markdown(arms)
    if plot:
        draw(arms, plot)
        text += f"\n![Change of the judge's word error rate, by policy]({plot.name})\n"
    place(text, out, BEGIN, END)
    print(f"table2: {out}" + (f", {plot}" if plot else ""), file=sys.stderr)


def read_arms(runs: Path) -> list[Arm]:
    """The base, then the arms that have a finished run, in the order of NAMES. ArlError when there are none, or when
    two evaluations are not of the same utterances."""
    base = by_key(runs / BASE)
    arms = [Arm(name, stacked(folders, list(base))) for name, folders in find_runs(runs, NAMES, "table2").items()]
    return [Arm(BASE, stacked([runs / BASE], list(base))), *arms]


def by_key(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in sorted(read_rows(folder, SYNTHESIS), key=lambda row: row["key"])}


def stacked(folders: Sequence[Path], keys: Sequence[str]) -> np.ndarray:
    """[folders, utterances, metrics, 2]; the utterances of each are `keys`."""
    layers = []
    for folder in folders:
        found = by_key(folder)
        if list(found) != list(keys):
            raise ArlError(f"{folder}: not the utterances of the base's evaluation; evaluate both on the same shards")
        layers.append(table(METRICS, list(found.values())))
    return np.stack(layers)


def markdown(arms: Sequence[Arm]) -> str:
    """The paper's columns, judge WER and speaker similarity, then everything else that was measured, then each arm
    against each other."""
    base = arms[0]
    body = []
    for arm in arms:
        lines = [cell(pooled(arm.of("wer"))), "–", "–", cell(pooled(arm.of("similarity")))]
        if arm is not base:
            lines[1] = cell(change(arm.of("wer"), base.of("wer")), "+.1f")
            lines[2] = " ".join(f"{100 * value:.1f}" for value in each_seed(arm.of("wer")))
        length = change(arm.of("seconds"), base.of("seconds"))
        body.append([label(arm), *lines, "–" if arm is base else cell(length, "+.1f")])
    head = ["policy", "judge WER %", "change %", "seeds", "speaker similarity %", "duration, change %"]
    metrics: Mapping[str, Any] = {metric.name: metric for metric in METRICS}
    rest = [
        [label(arm), *(cell(pooled(arm.of(c)), metrics[c].form, metrics[c].factor) for c in COLUMNS)] for arm in arms
    ]
    n_texts, n_hyps = base.sums.shape[1], int(base.of("no_wave")[0, :, 1].sum())
    title = f"{n_texts} held-out texts, {n_hyps // n_texts} samples of each at temperature 1; 95 % intervals.\n\n"
    tables = [markdown_table(head, body), markdown_table(["policy", *(metrics[c].label for c in COLUMNS)], rest)]
    pairs = against_each_other([(label(arm), [arm.of("wer")]) for arm in arms[1:]], ["change of the judge's WER, %"])
    return title + "\n\n".join([*tables, *filter(None, [pairs])]) + "\n"


def label(arm: Arm) -> str:
    return NAMES.get(arm.name, arm.name)


def draw(arms: Sequence[Arm], path: Path) -> None:
    """Each arm's relative change of the judge's WER with its interval, and a dot for each seed."""
    base, trained = arms[0], arms[1:]
    with picture(path, figsize=(7, 0.5 * len(trained) + 1.6)) as axes:
        axis = axes[0, 0]
        start = draw_changes(axis, [arm.of("wer") for arm in trained], base.of("wer"))
        axis.set_xlabel(f"relative change of the judge's WER, % (base {100 * start:.1f} %)")
        axis.set_yticks(range(len(trained)), [label(arm) for arm in trained])
        axis.invert_yaxis()


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"table2: {error}")
