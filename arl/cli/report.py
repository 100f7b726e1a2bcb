"""`arl report`: what a run has done, read from its `stage.jsonl` records.

    arl report --run runs/demo                     # a line per step
    arl report --run runs/demo --step 3            # the line of one step: what the loop prints
    arl report --run runs/demo --step 3 --groups   # how many of its groups have non-zero reward variance
    arl report --run runs/demo --plot curve.png    # reward, WER of the samples, KL and held-out WER by step
    arl report --html runs/demo -o report.html     # a page to see and hear the run; --watch follows a running loop
    arl report --track tensorboard runs/demo       # its numbers, for a tracker of experiments

A line with a warning follows where speech loses what the reward does not see (`alarms` has the rules). Left
out: anything that is not in the records, the evaluations and the shards.
"""

from pathlib import Path
from typing import Annotated

import typer

from arl.cli import options
from arl.errors import UsageError
from arl.evaluation.run_report import report as show
from arl.evaluation.track import track as log

PAGE = "The page"


def report(
    place: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The run, in place of --run.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A run folder with step-NNNNNN/ in it.")] = None,
    step: Annotated[int | None, typer.Option("--step", help="Only this step.")] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Of --step: only the number of groups with non-zero reward variance.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves to a file (needs matplotlib).")] = None,
    html: Annotated[
        bool,
        typer.Option("--html", help="Write one page with curves, examples and audio instead.", rich_help_panel=PAGE),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Of --html: the file. Default: report.html in the run.", rich_help_panel=PAGE),
    ] = None,
    shards: Annotated[
        list[str] | None,
        typer.Option(
            "--shards",
            rich_help_panel=PAGE,
            help="Of --html: the clips that were recognised, where the evaluation's record does not lead to them.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Of --html: write it anew as the loop goes on, until it is done.", rich_help_panel=PAGE
        ),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option("--track", help="Log the numbers to tensorboard, wandb or trackio (its own extra) instead."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print a line per step: reward, WER of the samples, KL, length, seconds by stage; and warnings of a gamed reward.

    Example: arl report --run runs/demo
    """
    if (place is None) == (run is None):
        raise UsageError("arl report: name one run: arl report --run runs/demo")
    folder = place or run
    assert folder is not None
    if not html and (out or shards or watch):
        raise UsageError("arl report: --out, --shards and --watch are of --html")
    if track is not None:
        if html or groups or plot or as_json:
            raise UsageError("arl report: --track logs numbers only; leave --html, --groups, --plot and --json out")
        log(folder, track, step)
        return
    if not html:
        show(folder, step, groups, plot, as_json)
        return
    if step is not None or groups or plot or as_json:
        raise UsageError("arl report: --html is of the whole run; leave --step, --groups, --plot and --json out")
    from arl.evaluation.page.write import write

    write(folder, out or folder / "report.html", shards or (), watch)
