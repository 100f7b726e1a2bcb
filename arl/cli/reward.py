"""`arl reward`: rollout shards → reward shards.

    arl reward --shards rollout/ --with wer --with ./mine.py=0.5 --gate hallucination=-1
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

Every reward program (stages/README.md) scores each group; the weighted sum, bounded by gates, becomes the
reward, and the group's advantages follow (arl.rewards.advantages). References come from the audio shards, which
the records of the stages before lead to. A bad sample (no reference text) is a group of nulls, counted
against --max-failed; a program that breaks the contract fails the stage. The module is not named `reward`
because `arl.reward` is the decorator. Left out: running several programs at a time on the device.
"""

import json
from typing import Annotated, Literal

import typer

from arl.cli import options
from arl.runtime.fan_out import over_gpus


def reward(
    shards: options.GrowingShards,
    out: options.Out = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="SPEC", help="Reward program: wer, ./mine.py, 'jq -c …'; =0.5 is its weight."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", metavar="SPEC=VALUE", help="Where this program returns 1, the reward is at most VALUE."),
    ] = None,
    gates_set: Annotated[
        bool, typer.Option("--gates-set", help="There it is VALUE, also where it was lower: the paper's rule.")
    ] = False,
    advantage: Annotated[
        Literal["std", "mean", "rloo"], typer.Option("--advantage", help="Baseline and scale; std is eq. 1.")
    ] = "std",
    eps: Annotated[float, typer.Option("--eps", help="Added to the standard deviation.")] = 1e-6,
    child: Annotated[bool, typer.Option("--child", help="Run Python rewards as programs, not in process.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds a program may take for one utterance.")
    ] = 600.0,
    gpus: options.Gpus = 1,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; 0: all cores for much text, else one.")] = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Score the rollouts with reward programs and compute the advantages.

    Example: arl reward --shards rollout/ --with wer --with keyword=0.5 --gate hallucination=-1
    """
    from arl.rewards.reward_stage import RewardOptions, score_rollouts

    if over_gpus(gpus):
        return
    wanted = RewardOptions(with_ or [], gate or [], advantage, eps, child, jobs, timeout, gates_set)
    metrics = score_rollouts(shards, out, wanted, force, max_failed)
    if as_json:
        print(json.dumps(metrics, ensure_ascii=False))
