"""Which of several processes this one is: the one place that reads it from the environment. Light: every command line
imports it.

torchrun says it, or srun: by what only they set, so that neither a batch script outside srun nor the variables of a pod
count. `ARL_PART=k/n` (k from 0) says by hand which part of a stage's shards this process makes, and goes before them.
Shard i of the sorted names is made by part i mod n, so each is made once, and by the same part when a run that was
killed is started again.

    index, count = part()     # of a stage's shards; (0, 1) where this process is alone
    rank(), n_ranks()         # among the processes of torchrun, which make one update together
"""

import os

from arl.errors import UsageError

PART = "ARL_PART"
TORCHRUN = "RANK", "WORLD_SIZE", "LOCAL_RANK"  # number, count, and a variable that only the launcher sets
SRUN = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"


def launched() -> tuple[int, int]:
    """(number from 0, count) of this process among those that torchrun or srun has started; (0, 1) without them."""
    return _said_by(TORCHRUN) or _said_by(SRUN) or (0, 1)


def part() -> tuple[int, int]:
    """(index from 0, count of parts). UsageError for an ARL_PART that cannot be."""
    given = os.environ.get(PART)
    if given is None:
        return launched()
    first, _, second = given.partition("/")
    if not (first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise UsageError(f"{PART}={given}: write k/n with k from 0 to n - 1, for example 0/8")
    return int(first), int(second)


def rank() -> int:
    """This process's number among all of torchrun's, from 0."""
    return (_said_by(TORCHRUN) or (0, 1))[0]


def n_ranks() -> int:
    """All processes of torchrun's job, on every node; 1 where it has not started this one."""
    return (_said_by(TORCHRUN) or (0, 1))[1]


def local_rank() -> int | None:
    """This process's number among those of its node, by torchrun or srun; None without them."""
    said = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID")
    return None if said is None else int(said)


def n_local_ranks() -> int:
    """torchrun's processes of this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _said_by(TORCHRUN) else 1


def _said_by(launcher: tuple[str, str, str]) -> tuple[int, int] | None:
    number, count, only_its = (os.environ.get(name) for name in launcher)
    if number is None or count is None or only_its is None:
        return None
    return int(number), int(count)
