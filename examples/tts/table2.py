"""Evaluations of several arms and seeds → the table of `make table2`, in Markdown, and its plot.

    python examples/tts/table2.py runs/table2/runs -o examples/tts/RESULTS.md --plot examples/tts/table2.png

RUNS/base is the starting policy's evaluation, RUNS/ARM/SEED/final each run's: folders of `arl eval-speech` on the same
texts. Figures are pooled over the seeds of an arm, with intervals over utterances and seeds (arl/evaluation/arms.py).
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from arl.cli.evaluate_speech import read_rows
from arl.errors import ArlError
from arl.evaluation.arms import Of, cell, change, draw_changes, each_seed, find_runs, markdown_rows, place, pooled
from arl.evaluation.picture import picture
from arl.evaluation.speech import METRICS, ratio, table

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
    """One row of the table. counts: [seeds, utterances, 2 · metrics], what is above and below of each metric."""

    name: str
    counts: np.ndarray


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
    return {row["key"]: row for row in sorted(read_rows(folder), key=lambda row: row["key"])}


def stacked(folders: Sequence[Path], keys: Sequence[str]) -> np.ndarray:
    """[folders, utterances, 2 · metrics]; the utterances of each are `keys`."""
    layers = []
    for folder in folders:
        found = by_key(folder)
        if list(found) != list(keys):
            raise ArlError(f"{folder}: not the utterances of the base's evaluation; evaluate both on the same shards")
        layers.append(table(list(found.values())).reshape(len(found), -1))
    return np.stack(layers)


def figure_of(name: str) -> Of:
    """A metric of `arl eval-speech` as a function of sums [..., 2 · metrics]."""
    return partial(_ratio, place=PLACES[name])


def _ratio(sums: np.ndarray, place: int) -> np.ndarray:
    return ratio(sums.reshape(*sums.shape[:-1], -1, 2)[..., place, :])


def markdown(arms: Sequence[Arm]) -> str:
    """The paper's columns, judge WER and speaker similarity, then everything else that was measured."""
    base, wer, seconds = arms[0], figure_of("wer"), figure_of("seconds")
    body = []
    for arm in arms:
        lines = [cell(pooled(arm.counts, wer)), "–", "–", cell(pooled(arm.counts, figure_of("similarity")))]
        if arm is not base:
            lines[1] = cell(change(arm.counts, base.counts, wer), "+.1f")
            lines[2] = " ".join(f"{100 * value:.1f}" for value in each_seed(arm.counts, wer))
        length = change(arm.counts, base.counts, seconds)
        body.append([label(arm), *lines, "–" if arm is base else cell(length, "+.1f")])
    head = ["policy", "judge WER %", "change %", "seeds", "speaker similarity %", "duration, change %"]
    metrics: Mapping[str, Any] = {metric.name: metric for metric in METRICS}
    rest = [
        [label(arm), *(cell(pooled(arm.counts, figure_of(c)), metrics[c].form, metrics[c].factor) for c in COLUMNS)]
        for arm in arms
    ]
    n_texts, n_hyps = base.counts.shape[1], int(base.counts[0, :, 2 * PLACES["no_wave"] + 1].sum())
    title = f"{n_texts} held-out texts, {n_hyps // n_texts} samples of each at temperature 1; 95 % intervals.\n\n"
    tables = (markdown_rows(head, body), markdown_rows(["policy", *(metrics[c].label for c in COLUMNS)], rest))
    return title + "\n\n".join(tables) + "\n"


def label(arm: Arm) -> str:
    return NAMES.get(arm.name, arm.name)


def draw(arms: Sequence[Arm], path: Path) -> None:
    """Each arm's relative change of the judge's WER with its interval, and a dot for each seed."""
    base, trained = arms[0], arms[1:]
    with picture(path, figsize=(7, 0.5 * len(trained) + 1.6)) as axes:
        axis = axes[0, 0]
        start = draw_changes(axis, [arm.counts for arm in trained], base.counts, figure_of("wer"))
        axis.set_xlabel(f"relative change of the judge's WER, % (base {100 * start:.1f} %)")
        axis.set_yticks(range(len(trained)), [label(arm) for arm in trained])
        axis.invert_yaxis()


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"table2: {error}")
