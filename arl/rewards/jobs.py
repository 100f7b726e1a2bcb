"""`arl reward --jobs N`: shards scored in several processes at once.

Only programs that say `@reward(pure=True)` run so: their answer depends on the utterance alone, and a copy of them per
process costs little. Each process takes the next shard, writes it as one process alone would, and answers with the
counts; so the shards are the same bytes for any N, and only the order of the lines in stage.jsonl may differ. Left
out: programs with models, which live once, and batches of a few shards, which are done before a process has started.
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from arl.errors import ArlError, UsageError
from arl.rewards.programs.compose import Panel
from arl.rewards.reading import RewardJob
from arl.rewards.scoring import Scoring, write_scores
from arl.rewards.tally import ScoreTally
from arl.runtime.budget import FailureBudget
from arl.runtime.stage import StageRun

WORTH_BYTES = 16_000_000  # of rollouts: a second's work or two


def jobs_for(asked: int, panel: Panel, jobs: Sequence[RewardJob]) -> int:
    """The number of processes: as many as asked for, and for 0 as many as are worth it. UsageError where it cannot be.

    A run of one shard, or of programs that are not pure, is one process; so is, unless asked for, a small one.
    """
    if asked < 0:
        raise UsageError(f"--jobs {asked}: give the number of processes, or 0 for as many as are worth it")
    if asked == 1 or len(jobs) < 2:
        return 1
    impure = [program.name for program in panel.programs if not program.is_pure]
    if asked and impure:
        raise UsageError(
            f"--jobs {asked}: {impure[0]} runs once, as its answers may depend on more than the utterance; "
            "a @reward(pure=True) function in process may run in several processes"
        )
    if not asked and (impure or sum(job.inputs[0].stat().st_size for job in jobs) < WORTH_BYTES):
        return 1
    return min(asked or len(os.sched_getaffinity(0)), len(jobs))


def score_in_processes(
    scoring: Scoring, n_jobs: int, jobs: Mapping[str, RewardJob]
) -> Iterator[tuple[ScoreTally, int]]:
    """Yields (counts, bad samples) of each shard, in the shards' order, when it is written."""
    context = get_context("spawn")
    is_wanted, wanted = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(n_jobs, context, _begin, (scoring, is_wanted))
    failed = 0
    try:
        for future in [pool.submit(_score, name, job) for name, job in jobs.items()]:
            tally, bad = future.result()
            failed += bad
            if failed > scoring.max_failed:
                raise ArlError(f"{failed} samples are bad (--max-failed {scoring.max_failed} samples may fail)")
            yield tally, bad
    except BrokenProcessPool as error:
        raise ArlError("a process of --jobs has ended without a word: killed, or a program crashed it; "
                       "--jobs 1 --child says which one and where") from error  # fmt: skip
    except (KeyboardInterrupt, SystemExit):  # a program may be hung: nobody waits for it
        wanted.close()
        raise
    finally:  # after a failure: no more than the shards in hand
        pool.shutdown(cancel_futures=True)


class _Process:
    """This process's part of a run. Its programs stay open until the process ends."""

    stack = ExitStack()
    scoring: Scoring
    run: StageRun
    programs: list[Any]


def _begin(scoring: Scoring, is_wanted: Connection) -> None:
    """Once per process. Ctrl-C is the parent's to handle. is_wanted: closed at the other end when it is not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(is_wanted,), daemon=True).start()
    _Process.scoring = scoring
    _Process.run = StageRun("reward", scoring.out, scoring.arguments, sources=scoring.sources)
    _Process.programs = scoring.panel.open(_Process.stack, scoring.timeout_s)


def _end_with_parent(is_wanted: Connection) -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel, is_wanted])
        os._exit(1)


def _score(name: str, job: RewardJob) -> tuple[ScoreTally, int]:
    scoring, budget = _Process.scoring, FailureBudget(_Process.scoring.max_failed)
    (tally,) = write_scores(_Process.run, {name: job}, scoring, _Process.programs, budget)
    return tally, budget.count
