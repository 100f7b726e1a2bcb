"""`arl reward`: rollout shards → reward shards.

    arl reward --shards rollout/ --with wer --with ./mine.py=0.5 --gate hallucination=-1
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

Every reward program (stages/README.md) scores each group; the weighted sum, overridden by gates, becomes the
reward, and the group's advantages follow (arl.rewards.advantages). References come from the audio shards, which
the records of the stages before lead to. A bad sample (no reference text) is a group of nulls, counted
against --max-failed; a program that breaks the contract fails the stage. The module is not named `reward`
because `arl.reward` is the decorator. Left out: running several programs at a time on the device.
"""

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from arl.cli import options
from arl.rewards.read import Job
from arl.rewards.score import write_scores

if TYPE_CHECKING:
    from arl.rewards.score import Scoring
    from arl.rewards.tally import Tally
    from arl.runtime.stage import StageRun


def reward(
    shards: options.GrowingShards,
    out: options.Out = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="SPEC", help="Reward program: wer, ./mine.py, 'jq -c …'; =0.5 is its weight."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", metavar="SPEC=VALUE", help="Where this program returns 1, the reward is VALUE."),
    ] = None,
    advantage: Annotated[str, typer.Option("--advantage", help="std (eq. 1), mean or rloo.")] = "std",
    eps: Annotated[float, typer.Option("--eps", help="Added to the standard deviation.")] = 1e-6,
    child: Annotated[bool, typer.Option("--child", help="Run Python rewards as programs, not in process.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; 0: all cores for much text, else one.")] = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Score the rollouts with reward programs and compute the advantages.

    Example: arl reward --shards rollout/ --with wer --with keyword=0.5 --gate hallucination=-1
    """
    from arl.rewards.advantages import advantages
    from arl.rewards.jobs import jobs_for
    from arl.rewards.programs.compose import Panel
    from arl.rewards.score import Scoring
    from arl.rewards.tally import Tally, summary
    from arl.runtime.console import note
    from arl.runtime.stage import StageRun, default_out
    from arl.shards.columns import META
    from arl.shards.lineage import find_column
    from arl.shards.paths import joined_shards

    advantages([], advantage, eps)  # refuses a wrong flag before any work
    panel = Panel.parse(with_ or [], gate or [], child)
    arguments = {**panel.fingerprint(), "advantage": advantage, "eps": eps}
    run = StageRun("reward", out or default_out("reward", shards), arguments, sources=shards, force=force)
    every = {name: Job(inputs, find_column(inputs, META)) for name, inputs in joined_shards(shards)}
    todo = {name: every[name] for name, _ in run.pending((name, job.all_inputs) for name, job in every.items())}
    scoring = Scoring(run.out, arguments, shards, panel, advantage, eps, max_failed)
    total, failed = Tally(), 0
    with closing(_scored(run, scoring, todo, jobs_for(jobs, panel, list(todo.values())))) as scored:
        for tally, bad in scored:
            total += tally
            failed += bad
    figures = total.figures() | {"failed": failed, "skipped": run.skipped, "out": str(run.out)}
    if todo:
        note(summary(figures))
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))


def _scored(
    run: "StageRun", scoring: "Scoring", todo: Mapping[str, Job], n_jobs: int
) -> "Generator[tuple[Tally, int], None, None]":
    """Scores the shards here or in processes; yields (counts, bad samples) of each."""
    from arl.rewards.jobs import score_in_processes, seldom_collecting
    from arl.runtime.budget import FailureBudget

    if n_jobs > 1:
        yield from score_in_processes(scoring, n_jobs, todo)
    elif todo:
        budget, before = FailureBudget(scoring.max_failed), 0
        with ExitStack() as stack:
            with run.phase("wake"):
                programs = scoring.panel.open(stack)
            stack.enter_context(seldom_collecting())
            for tally in write_scores(run, todo, scoring, programs, budget):
                yield tally, budget.count - before
                before = budget.count
