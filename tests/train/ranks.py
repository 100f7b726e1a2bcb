"""Several processes as torchrun would start and end them, forked, so that they have what this one has imported.

codes = run_ranks(2, lambda: update(...))
"""

import io
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from unittest import mock

from arl.errors import ArlError

GRACE_S = 5.0  # until the others are killed when one has failed


def run_ranks(n: int, work: Callable[[], object], stderr: Path | None = None, **environment: str) -> list[int]:
    """Each process's exit code. stderr: a file for what they print there, with a failure's line as `arl` has it."""
    import arl.train.parallel  # noqa: F401 - once, not by every process

    context = multiprocessing.get_context("fork")
    port = str(20_000 + next(counter))
    processes = []
    for rank in range(n):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_PORT": port}
        given = {name: str(value) for name, value in own.items()} | environment
        process = context.Process(target=as_rank, args=(work, given, stderr))
        process.start()
        processes.append(process)
    while (running := [p for p in processes if p.exitcode is None]) and not any(p.exitcode for p in processes):
        wait([process.sentinel for process in running])
    for process in processes:
        process.join(GRACE_S)
        process.kill()
        process.join()
    return [process.exitcode or 0 for process in processes]


counter = iter(range(10_000))


def as_rank(work: Callable[[], object], environment: dict[str, str], stderr: Path | None) -> None:
    if stderr is not None:
        sys.stderr = io.TextIOWrapper(stderr.open("ab", buffering=0), write_through=True)
    with mock.patch.dict(os.environ, environment):
        try:
            work()
        except ArlError as error:
            print(f"arl: {error}", file=sys.stderr)
            os._exit(error.exit_code)
        except SystemExit as error:
            os._exit(error.code if isinstance(error.code, int) else 1)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os._exit(70)
    os._exit(0)
