"""`arl report`: what a run has done, read from its `stage.jsonl` records.

    arl report --run runs/demo                     # a line per step
    arl report --run runs/demo --step 3            # the line of one step: what the loop prints
    arl report --run runs/demo --step 3 --groups   # how many of its groups have non-zero reward variance
    arl report --run runs/demo --plot curve.png    # reward, WER of the samples, KL and held-out WER by step

A line with a warning follows where speech loses what the reward does not see (`alarms` has the rules). Left
out: anything that is not in the records and the evaluations.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options


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
    from arl.evaluation.run_report import report as show

    show(run, step, groups, plot, as_json)
