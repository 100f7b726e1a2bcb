"""Which of several processes this one is, as torchrun says in the environment. Light: every command line uses it."""

import os


def rank() -> int:
    """This process's number among all of them, from 0."""
    return int(os.environ.get("RANK", "0"))


def n_ranks() -> int:
    """All processes of the job, on every node; 1 where nothing like torchrun has started this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """This process's number among those of its node."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def n_local_ranks() -> int:
    """The processes of this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
