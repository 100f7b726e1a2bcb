"""What `arl eval` prints of synthesised speech: a line per metric, and beside it the change against another evaluation.

`report.md` has the same, and the texts of the samples with what the judge heard in them.
"""

from collections.abc import Iterator

from arl.evaluation.metric import Rows
from arl.evaluation.render import Block, Grid, Summary, change_cells, change_grid, groups, markdown, markdown_table
from arl.evaluation.synthesis.metrics import METRICS

BASELINE_HEADS = ("baseline", "change", "95 % interval", "p")


def summary_blocks(summary: Summary) -> Iterator[Block]:
    """For each set its metrics with 95 % intervals; with "compared_with" also the baseline's, the change, its interval
    and p, for every metric that something defines."""
    other = summary.get("compared_with")
    changes = groups(other) if other else {}
    for name, one in groups(summary).items():
        yield f"{name}: " * bool(name) + counted(one)
        change = changes.get(name)
        heads = ["", "value", "95 % interval", *(BASELINE_HEADS if change else ())]
        yield Grid(heads, list(metric_rows(one, change)))
        if other and change and (length := length_line(change, other["path"])):
            yield length


def metric_rows(one: Summary, changes: Summary | None) -> Iterator[list[str]]:
    """A label and a cell per column."""
    for metric in METRICS:
        if one[metric.name] is not None:
            own = [
                metric.number(one[metric.name]),
                metric.span(*(one[f"{metric.name}_{end}"] for end in ("low", "high"))),
            ]
            a, _, *change = change_cells(metric, changes[metric.name]) if changes else ("", "")
            yield [metric.label, *own, *([a, *change] if changes else ())]


def counted(one: Summary) -> str:
    return f"{one['utterances']} utterances, {one['hypotheses']} hypotheses"


def length_line(change: Summary, path: str) -> str:
    """How long the clips are against the baseline's; empty where no utterance has both."""
    if change.get("duration_ratio") is None:
        return ""
    ratio, low, high = (change[f"duration_ratio{end}"] for end in ("", "_low", "_high"))
    return f"as long as {path} times {ratio:.3f} ({low:.3f} … {high:.3f})"


def comparison_blocks(name: str, one: Summary) -> Iterator[Block]:
    """A and B side by side: a row per metric that one of them defines."""
    if name:
        yield name
    shown = [metric for metric in METRICS if (one[metric.name]["a"], one[metric.name]["b"]) != (None, None)]
    yield change_grid("", [[metric.label, *change_cells(metric, one[metric.name])] for metric in shown])
    if length := length_line(one, "A"):
        yield length


def page(summary: Summary, rows: Rows) -> str:
    """`report.md`."""
    text = markdown("Synthesised speech", summary_blocks(summary))
    samples = [
        [f"[{row['key']}]({row['sample']})", row["reference"], row["hyps"][0].get("heard", "-")]
        for row in rows
        if "sample" in row
    ]
    return text + ("\n" + markdown_table(["sample", "text", "heard"], samples) + "\n" if samples else "")
