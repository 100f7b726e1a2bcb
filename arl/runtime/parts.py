"""Which part of a stage's shards this process makes, where several share them. Light: every command line imports it.

`ARL_PART=k/n` says it (k from 0), else torchrun does, else srun: by what only they set, so that neither a batch script
outside srun nor the variables of a pod count. Shard i of the sorted names is made by part i mod n, so each is made
once, and by the same part when a run that was killed is started again.

    index, count = part()     # (0, 1) where this process is alone
"""

import os

from arl.errors import UsageError

PART = "ARL_PART"
LAUNCHERS = (  # index, count, a variable that only the launcher sets
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"),
)


def part() -> tuple[int, int]:
    """(index from 0, count of parts). UsageError for an ARL_PART that cannot be."""
    given = os.environ.get(PART)
    if given is None:
        for names in LAUNCHERS:
            if all(name in os.environ for name in names):
                return int(os.environ[names[0]]), int(os.environ[names[1]])
        return 0, 1
    first, _, second = given.partition("/")
    if not (first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise UsageError(f"{PART}={given}: write k/n with k from 0 to n - 1, for example 0/8")
    return int(first), int(second)
