"""Evaluations of several arms and seeds → the table of `make table1` or `make seeds`, in Markdown, and its plot.

    python examples/asr/table1.py runs/table1/runs-test -o examples/asr/RESULTS.md --plot examples/asr/table1.png

RUNS/base is the starting policy's evaluation, RUNS/ARM/SEED/final each run's: folders of `arl eval` with the same sets.
Metrics are pooled over the seeds of an arm, with intervals over utterances and seeds (arl/evaluation/arms.py); each
seed's own value stands beside them.
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
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.recognition.metrics import METRICS
from arl.evaluation.render import markdown_table

BASE = "base"
BEGIN, END = "<!-- table1: written by make table1 -->", "<!-- table1: end -->"
NAMES = {
    "base": "base", "R1-D0": "R1 / D0", "R12-D0": "R1,2 / D0", "R12-D02": "R1,2 / D0,2", "R12-D12": "R1,2 / D1,2",
    "Rall-Dall": "R_all / D_all", "MWER-Dall": "MWER / D_all", "SFT-Dall": "SFT / D_all",
}  # fmt: skip
PLACES = {metric.name: place for place, metric in enumerate(METRICS)}
COLUMNS = ("wer", "insertion_rate", "deletion_rate", "substitution_rate", "hallucination_rate", "keyword_f1")


@dataclass(frozen=True)
class Arm:
    """What one row of the table is made from. sums: set → [seeds, utterances, metrics, 2]."""

    name: str
    seeds: tuple[str, ...]
    sums: Mapping[str, np.ndarray]

    def of(self, name: str, metric: str) -> np.ndarray:
        """[seeds, utterances, 2]: a set's numerators and denominators of a metric."""
        return self.sums[name][:, :, PLACES[metric]]


def main(
    runs: Annotated[Path, typer.Argument(help="The folder with base/ and ARM/SEED/final/.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Markdown to write; of a page with the two marks, what is between them.")
    ],
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture to write (needs matplotlib).")] = None,
) -> None:
    """Make Table 1 from the evaluations of its runs.

    Example: python examples/asr/table1.py runs/table1/runs-test -o TABLE1.md --plot table1.png
    """
    arms = read_arms(runs)
    text = markdown(arms)
    if plot:
        draw(arms, plot)
        text += f"\n![Change of the word error rate, by policy and set]({plot.name})\n"
    place(text, out, BEGIN, END)
    print(f"table1: {out}" + (f", {plot}" if plot else ""), file=sys.stderr)


def read_arms(runs: Path) -> list[Arm]:
    """The base, then the arms that have a finished run, in the order of NAMES. ArlError when there are none, or when
    two evaluations are not of the same utterances."""
    base = by_set(runs / BASE)
    keys = {name: [row["key"] for row in rows] for name, rows in base.items()}
    arms = [
        Arm(name, tuple(folder.parent.name for folder in folders), stacked(folders, keys))
        for name, folders in find_runs(runs, NAMES, "table1").items()
    ]
    return [Arm(BASE, (), stacked([runs / BASE], keys)), *arms]


def by_set(folder: Path) -> dict[str, list[dict[str, Any]]]:
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(read_rows(folder, RECOGNITION), key=lambda row: row["key"]):
        sets.setdefault(row["set"], []).append(row)
    return dict(sorted(sets.items(), key=lambda item: item[0] != "short"))


def stacked(folders: Sequence[Path], keys: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Set → [folders, utterances, metrics, 2]; the utterances of each are those of `keys`."""
    layers: dict[str, list[np.ndarray]] = {name: [] for name in keys}
    for folder in folders:
        sets = by_set(folder)
        if {name: [row["key"] for row in rows] for name, rows in sets.items()} != keys:
            raise ArlError(f"{folder}: not the utterances of the base's evaluation; evaluate both on the same shards")
        for name, rows in sets.items():
            layers[name].append(table(METRICS, rows))
    return {name: np.stack(layer) for name, layer in layers.items()}


def markdown(arms: Sequence[Arm]) -> str:
    """A table of word error rates over all sets, one of everything for each set, then each arm against each other."""
    base, sets = arms[0], list(arms[0].sums)
    blocks = [
        "WER % with its 95 % interval, the change against the base (relative, paired), and each seed's WER:\n\n"
        + markdown_table(["policy", *(f"{name} {what}" for name in sets for what in ("WER %", "change %", "seeds"))],
               [[label(arm), *(each for name in sets for each in overview(arm, base, name))] for arm in arms])
    ]  # fmt: skip
    for name in sets:
        (wer,) = base.of(name, "wer")  # [utterances, 2], words in the denominator
        head = ["policy", *(f"{METRICS[PLACES[column]].label} %" for column in COLUMNS)]
        body = [[label(arm), *(cell(pooled(arm.of(name, column))) for column in COLUMNS)] for arm in arms]
        title = f"Set `{name}`: {len(wer)} utterances, {int(wer[:, 1].sum())} words."
        blocks.append(f"{title}\n\n{markdown_table(head, body)}")
    pairs = [(label(arm), [arm.of(name, "wer") for name in sets]) for arm in arms[1:]]
    if table_of_pairs := against_each_other(pairs, [f"{name} change %" for name in sets]):
        blocks.append(f"WER of a policy against that of another (relative, the same utterances):\n\n{table_of_pairs}")
    return "\n\n".join(blocks) + "\n"


def overview(arm: Arm, base: Arm, name: str) -> list[str]:
    """WER, change and seeds of an arm on a set."""
    wer = arm.of(name, "wer")
    if arm is base:
        return [cell(pooled(wer)), "–", "–"]
    relative = change(wer, base.of(name, "wer"))
    seeds = " ".join(f"{100 * value:.1f}" for value in each_seed(wer))
    return [cell(pooled(wer)), cell(relative, "+.1f"), seeds]


def label(arm: Arm) -> str:
    return NAMES.get(arm.name, arm.name)


def draw(arms: Sequence[Arm], path: Path) -> None:
    """One panel a set: each arm's relative change of WER with its interval, and a dot for each seed."""
    base, trained = arms[0], arms[1:]
    sets = list(base.sums)
    size = (4 * len(sets), 0.5 * len(trained) + 1.6)
    with picture(path, 1, len(sets), figsize=size, sharey=True) as axes:
        for axis, name in zip(axes[0], sets, strict=True):
            start = draw_changes(axis, [arm.of(name, "wer") for arm in trained], base.of(name, "wer"))
            axis.set_title(f"{name} (base {100 * start:.1f} %)")
            axis.set_xlabel("relative change of WER, %")
        axes[0][0].set_yticks(range(len(trained)), [label(arm) for arm in trained])
        axes[0][0].invert_yaxis()


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"table1: {error}")
