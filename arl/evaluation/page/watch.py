"""`arl report --html --watch`: the page again whenever the run's records have grown, until the loop is done.

    watch(Path("runs/demo"), write)      # write(is_running): whether the page shall reload itself

A loop is done when its final evaluation is newer than all records of its steps. Left out: notifications of the file
system, which network ones lack; the folder is looked at every two seconds.
"""

import time
from collections.abc import Callable
from pathlib import Path

from arl.evaluation.folder import SUMMARY
from arl.evaluation.page.compared import FINAL
from arl.shards.record import RECORD

LOOK_S = 2.0
State = tuple[tuple[str, int, int], ...]


def state(run: Path) -> State:
    """(path, time of change, size) of every record and summary that the page shows."""
    paths = [*run.glob(f"step-*/*/{RECORD}"), *run.glob(f"eval/*/{SUMMARY}")]
    found = []
    for path in sorted(paths):
        try:
            stat = path.stat()
        except FileNotFoundError:  # a policy of an earlier step
            continue
        found.append((str(path.relative_to(run)), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def is_done(seen: State) -> bool:
    """Whether the final evaluation is newer than every step's record."""
    final = [changed for path, changed, _ in seen if path.startswith(f"eval/{FINAL}/")]
    steps = [changed for path, changed, _ in seen if path.startswith("step-")]
    return bool(final) and final[0] >= max(steps, default=0)


def watch(run: Path, write: Callable[[bool], None], look_s: float = LOOK_S) -> None:
    """Writes the page now and at every change. Returns when the loop is done."""
    last: State | None = None
    while True:
        seen = state(run)
        if seen != last:
            write(not is_done(seen))
            last = seen
        if is_done(seen):
            return
        time.sleep(look_s)
