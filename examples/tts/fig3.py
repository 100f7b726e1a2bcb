"""Long runs → the paper's Figure 3: the reward of the samples and the judge's WER by step, a line for each arm.

    python -m examples.tts.fig3 runs/table2/long -o examples/tts/RESULTS.md --plot examples/tts/fig3.png

LONG/ARM is a run of `make loop` with evaluations in eval/NNNNNN and eval/final. The reward is that of the training
samples; its first program alone (R1, recognition by tokens) is drawn, so that arms with several rewards compare.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from arl.errors import ArlError
from arl.evaluation.arms import place
from arl.evaluation.panels import draw_wer
from arl.evaluation.picture import picture
from arl.evaluation.render import markdown_table
from arl.evaluation.run_report import component_means, evaluations
from arl.shards.record import read_record
from examples.tts.table2 import NAMES

BEGIN, END = "<!-- fig3: written by make fig3 -->", "<!-- fig3: end -->"
R1 = "asr"  # the program whose mean is drawn


def main(
    runs: Annotated[Path, typer.Argument(help="The folder with ARM/step-NNNNNN/ and ARM/eval/.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Markdown to write; of a page with the two marks, what is between them.")
    ],
    plot: Annotated[Path, typer.Option("--plot", help="Picture to write.")],
) -> None:
    """Draw Figure 3 from long runs, and write down its figures.

    Example: python -m examples.tts.fig3 runs/table2/long -o FIG3.md --plot fig3.png
    """
    arms = {name: read_run(runs / name) for name in NAMES if (runs / name / "eval/final/summary.json").is_file()}
    if not arms:
        raise ArlError(f"{runs}: no finished run there; `make fig3` makes them")
    draw(arms, plot)
    image = f"\n![Reward of the training samples and the judge's word error rate, by step]({plot.name})\n"
    place(markdown(arms) + image, out, BEGIN, END)
    print(f"fig3: {out}, {plot}", file=sys.stderr)


def read_run(run: Path) -> tuple[dict[int, float], dict[int, dict[str, Any]]]:
    """(mean R1 of the samples by step, summaries of the evaluations by step)."""
    rewards = {}
    for folder in sorted(run.glob("step-*")):
        means = component_means(read_record(folder / "reward"), [R1])
        if R1 in means:
            rewards[int(folder.name.rpartition("-")[2])] = means[R1]
    last = json.loads((run / "eval/final/summary.json").read_text())
    return rewards, evaluations(run) | {max(rewards): last}


def markdown(arms: dict[str, Any]) -> str:
    """The judge's WER of each evaluation, a row for each arm."""
    steps = sorted({step for _, found in arms.values() for step in found})

    def shown(summary: dict[str, Any] | None) -> str:
        if summary is None:
            return "–"
        wer, low, high = (f"{100 * summary[name]:.1f}" for name in ("wer", "wer_low", "wer_high"))
        return f"{wer} ({low} … {high})"

    body = [[NAMES[name], *(shown(found.get(step)) for step in steps)] for name, (_, found) in arms.items()]
    return markdown_table(["judge WER % after step", *map(str, steps)], body) + "\n"


def draw(arms: dict[str, Any], path: Path) -> None:
    with picture(path, 1, 2, figsize=(11, 4)) as axes:
        left, right = axes[0]
        for name, (rewards, found) in arms.items():
            left.plot(list(rewards), list(rewards.values()), ".-", label=NAMES[name])
            draw_wer(right, found)
        left.set_ylabel("R1 of the training samples (by tokens)")
        right.set_ylabel("judge WER, % (95 %)")
        for axis in (left, right):
            axis.set_xlabel("step")
        left.legend(fontsize="small")


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"fig3: {error}")
