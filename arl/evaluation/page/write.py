"""What `arl report --html` does: writes the page once, or again and again beside a running loop.

write(Path("runs/demo"), Path("runs/demo/report.html"), shards=[], follows=True)
"""

from collections.abc import Sequence
from pathlib import Path

from arl.evaluation.page.build import write_page
from arl.evaluation.page.watch import watch
from arl.runtime.console import note


def write(run: Path, out: Path, shards: Sequence[str], follows: bool) -> None:
    """Says on stderr where the page is. follows: until the loop is done."""

    def one(is_running: bool) -> None:
        write_page(run, out, shards, is_running)
        note(f"page: {out}")

    if follows:
        watch(run, one)
    else:
        one(False)
