"""The page itself: everything that the other files of this folder found, in page.html.

    write_page(Path("runs/demo"), Path("report.html"))

Styles, scripts and Plotly (MIT) are in the file, and its content security policy lets it load nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from arl.errors import ArlError
from arl.evaluation.alarms import warning
from arl.evaluation.kind import Kind
from arl.evaluation.page.compared import Compared, compared
from arl.evaluation.page.curves import charts
from arl.evaluation.page.examples import examples
from arl.evaluation.page.history import Step, history
from arl.evaluation.page.making import making
from arl.evaluation.page.verdict import verdict
from arl.evaluation.render import Grid, Summary, groups
from arl.evaluation.run_report import evaluations
from arl.shards.durable import write_file

HERE = Path(__file__).parent
RELOAD_S = 20  # of a page that follows a loop


def write_page(run: Path, out: Path, shards: Sequence[str] = (), is_running: bool = False) -> None:
    """Writes the page of a run whole or not at all. shards: audio shards of recognition, for another place than the
    evaluation's record says. is_running: the page reloads itself. ArlError where there is no such run, a package is
    missing, or the two evaluations cannot be compared."""
    if not run.is_dir():
        raise ArlError(f"{run}: no such run; name a folder with step-NNNNNN/ in it")
    steps, held_out, found = history(run), evaluations(run), compared(run)
    if not steps and not held_out and not is_running:
        raise ArlError(f"{run}: no finished step there, and no evaluation")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, render(run, steps, held_out, found, shards, is_running))


def render(
    run: Path,
    steps: Sequence[Step],
    held_out: Mapping[int, Summary],
    found: Compared | None,
    shards: Sequence[str],
    is_running: bool,
) -> str:
    """The HTML."""
    plotly, environment = plotly_script(), _environment()
    fired = [(step.number, alarm) for step in steps for alarm in step.row.get("alarms", [])]
    alarms = [(number, warning(alarm).removeprefix("warning: ")) for number, alarm in fired]
    drawn = charts(steps, held_out, alarms)
    made, head = making(run), verdict(found, steps)
    context = {
        "name": run.resolve().name, "steps": steps, "verdict": head, "alarms": alarms, "charts": drawn, "made": made,
        "grids": list(change_grids(found.kind, found.result)) if found else [], "found": found,
        "examples": examples(found, shards) if found else None,
        "is_recognition": found is not None and found.kind.name == "recognition",
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "reload_s": RELOAD_S if is_running else 0,
    }  # fmt: skip
    card = environment.get_template("card.md").render(context).strip()
    return environment.get_template("page.html").render(
        context, card=card, data=_inline_json([asdict(chart) for chart in drawn]), plotly=plotly,
        style=(HERE / "style.css").read_text(), script=(HERE / "page.js").read_text(),
    )  # fmt: skip


def change_grids(kind: Kind, result: Summary) -> list[tuple[str, Grid]]:
    """(what it is of, the table of A and B side by side) of each set."""
    found = []
    for name, one in groups(result).items():
        words = name
        for block in kind.comparison_blocks(name, one):
            if isinstance(block, Grid):
                found.append((words, block))
            else:
                words = str(block)
    return found


def plotly_script() -> str:
    """plotly.min.js of the Python package, without importing that. ArlError where it is not installed."""
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ArlError("arl report --html needs plotly: pip install 'arl[page]'")
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=lambda name: name is not None and name.endswith(".html"),
    )  # fmt: skip


def _inline_json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
