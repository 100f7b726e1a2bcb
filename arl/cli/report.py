"""`arl report`: what a run has done, read from its `stage.jsonl` records.

    arl report --run runs/demo                     # a line per step
    arl report --run runs/demo --step 3            # the line of one step: what the loop prints
    arl report --run runs/demo --step 3 --groups   # how many of its groups have non-zero reward variance
    arl report --run runs/demo --plot curve.png    # reward, WER of the samples, KL and held-out WER by step

A line with a warning follows where speech loses what the reward does not see (`alarms` has the rules). Left
out:
anything that is not in the records and the evaluations; it computes nothing anew.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.evaluation.alarms import ENDS, WINDOW
from arl.evaluation.run_report import draw, evaluations, groups_with_variance, line, read_step, with_alarms


def report(
    run: Annotated[Path, typer.Option("--run", help="A run folder with step-NNNNNN/ in it.")],
    step: Annotated[int | None, typer.Option("--step", help="Only this step.")] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Of --step: only the number of groups with non-zero reward variance.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves to a file (needs matplotlib).")] = None,
    as_json: options.Json = False,
) -> None:
    """Print a line per step: reward, WER of the samples, KL, length, seconds by stage; and warnings of a gamed reward.

    Example: arl report --run runs/demo
    """
    from arl.errors import ArlError, UsageError

    if groups:
        if step is None:
            raise UsageError("arl report: --groups is of one step; give --step")
        print(groups_with_variance(run / f"step-{step:06d}"))
        return
    folders = sorted(run.glob("step-*"))
    if step is not None:
        folders = [folder for folder in folders if folder.name <= f"step-{step:06d}"]
        folders = folders[:ENDS] + folders[ENDS:][-WINDOW:]  # what alarms look at
    rows = with_alarms([row for folder in folders if (row := read_step(folder))])
    if step is not None:
        rows = [row for row in rows if row["step"] == step]
    if not rows:
        raise ArlError(f"{run}: no finished step there")
    for row in rows:
        print(json.dumps(row) if as_json else line(row))
    if plot:
        draw(rows, evaluations(run), plot)
