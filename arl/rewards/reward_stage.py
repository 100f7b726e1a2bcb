"""The reward stage: rollout shards → reward shards, here or in several processes.

    score_rollouts(["rollout/"], None, RewardOptions(programs=["wer"], gates=["hallucination=-1"]))["reward_mean"]

References come from the audio shards, which the records of the stages before lead to. Left out: the programs
(arl/rewards/programs/), the scoring of a shard (scoring.py).
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.rewards.advantages import Kind, advantages
from arl.rewards.jobs import jobs_for, score_in_processes
from arl.rewards.programs.compose import Panel
from arl.rewards.programs.patience import TIMEOUT_S
from arl.rewards.reading import RewardJob
from arl.rewards.scoring import Scoring, write_scores
from arl.rewards.tally import ScoreTally, summary
from arl.runtime.budget import FailureBudget
from arl.runtime.console import note
from arl.runtime.stage import StageRun, default_out
from arl.shards.columns import META
from arl.shards.lineage import find_column
from arl.shards.paths import joined_shards


@dataclass(frozen=True)
class RewardOptions:
    """What is scored and how. programs: `--with`, each with its weight. gates: `--gate`. eps: added to the standard
    deviation. child: run Python rewards as programs, not in process. jobs: processes; 0: as many as are worth it.
    timeout_s: seconds that a program may take for one utterance. gates_set: a gate that fires sets the reward, also
    where it was lower."""

    programs: Sequence[str]
    gates: Sequence[str] = ()
    advantage: Kind = "std"
    eps: float = 1e-6
    child: bool = False
    jobs: int = 0
    timeout_s: float = TIMEOUT_S
    gates_set: bool = False


def score_rollouts(
    shards: Sequence[str], out: Path | None, options: RewardOptions, force: bool = False, max_failed: int = 0
) -> dict[str, Any]:
    """Scores the shards that remain to be processed. Counts and means over them (tally.py), "failed", "skipped", "out".

    UsageError for options that cannot be; ArlError for a program that breaks the contract, and for more bad samples
    (no reference text) than `max_failed`.
    """
    advantages([], options.advantage, options.eps)  # refuses a wrong flag before any work
    panel = Panel.parse(options.programs, options.gates, options.child, options.gates_set)
    arguments = {**panel.fingerprint(), "advantage": options.advantage, "eps": options.eps}
    run = StageRun("reward", out or default_out("reward", shards), arguments, sources=shards, force=force)
    every = {name: RewardJob(inputs, find_column(inputs, META)) for name, inputs in joined_shards(shards)}
    todo = {name: every[name] for name, _ in run.pending((name, job.all_inputs) for name, job in every.items())}
    scoring = Scoring(run.out, arguments, shards, panel, options.advantage, options.eps, max_failed, options.timeout_s)
    total, failed = ScoreTally(), 0
    with closing(_scored(run, scoring, todo, jobs_for(options.jobs, panel, list(todo.values())))) as scored:
        for tally, bad in scored:
            total += tally
            failed += bad
    run.finish()
    metrics = total.figures() | {"failed": failed, "skipped": run.skipped, "out": str(run.out)}
    if todo:
        note(summary(metrics))
    return metrics


def _scored(
    run: StageRun, scoring: Scoring, todo: Mapping[str, RewardJob], n_jobs: int
) -> Generator[tuple[ScoreTally, int], None, None]:
    """Scores the shards here or in processes; yields (counts, bad samples) of each."""
    if n_jobs > 1:
        yield from score_in_processes(scoring, n_jobs, todo)
    elif todo:
        budget, before = FailureBudget(scoring.max_failed), 0
        with ExitStack() as stack:
            with run.phase("wake"):
                programs = scoring.panel.open(stack, scoring.timeout_s)
            for tally in write_scores(run, todo, scoring, programs, budget):
                yield tally, budget.count - before
                before = budget.count
