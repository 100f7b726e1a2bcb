"""What `arl eval-speech` prints for people: a line per figure, and beside it the change against another evaluation.

On the terminal by `show`, as a page by `markdown`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arl.evaluation.show import new_table, print_table
from arl.evaluation.speech import METRICS, Metric
from arl.runtime.console import stdout_console


def show(summary: Mapping[str, Any]) -> None:
    """Figures with 95 % intervals; with "compared_with" also the baseline's, the change, its interval and p."""
    from rich.text import Text

    console = stdout_console()
    console.print(Text(counted(summary)))
    table = new_table(console)
    table.add_column("")
    for head in heads(summary):
        table.add_column(head, justify="right")
    for cells in lines(summary):
        table.add_row(*cells)
    print_table(console, table)
    if length := length_line(summary):
        console.print(Text(length))


def markdown(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The same as a page, and below it the texts of the samples with what the judge heard in them."""
    columns = ["", *heads(summary)]
    table = [columns, ["---", *["---:"] * (len(columns) - 1)], *lines(summary)]
    page = ["# Synthesised speech", counted(summary) + ".", "\n".join(map(_row, table))]
    if length := length_line(summary):
        page.append(length + ".")
    if samples := [row for row in rows if "sample" in row]:
        heard = [
            [f"[{row['key']}]({row['sample']})", row["reference"], row["hyps"][0].get("heard", "-")] for row in samples
        ]
        page.append("\n".join(map(_row, [["sample", "text", "heard"], ["---"] * 3, *heard])))
    return "\n\n".join(page) + "\n"


def _row(cells: Sequence[str]) -> str:
    """A line of a Markdown table; what would break it is escaped."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def counted(summary: Mapping[str, Any]) -> str:
    return f"{summary['utterances']} utterances, {summary['hypotheses']} hypotheses"


def heads(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns after the label."""
    return (
        "value",
        "95 % interval",
        *(("baseline", "change", "95 % interval", "p") if "compared_with" in summary else ()),
    )


def lines(summary: Mapping[str, Any]) -> Iterator[list[str]]:
    """A label and a cell per column of `heads`, for every figure that something defines."""
    other = summary.get("compared_with")
    for metric in METRICS:
        if summary[metric.name] is not None:
            change = change_cells(metric, other[metric.name]) if other else []
            yield [metric.label, number(metric, summary[metric.name]), span(metric, summary), *change]


def length_line(summary: Mapping[str, Any]) -> str:
    """How long the clips are against the baseline's; "" without one."""
    other = summary.get("compared_with")
    if not other or other.get("duration_ratio") is None:
        return ""
    ratio, low, high = (other[f"duration_ratio{end}"] for end in ("", "_low", "_high"))
    return f"as long as {other['path']} times {ratio:.3f} ({low:.3f} … {high:.3f})"


def number(metric: Metric, value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value * metric.factor:{sign}{metric.form}}"


def span(metric: Metric, figures: Mapping[str, Any], name: str = "", sign: str = "") -> str:
    low, high = (figures[f"{name or metric.name}_{end}"] for end in ("low", "high"))
    return "" if low is None else f"{number(metric, low, sign)} … {number(metric, high, sign)}"


def change_cells(metric: Metric, change: Mapping[str, Any]) -> list[str]:
    p = "-" if change["p"] is None else f"{change['p']:.2g}"
    return [number(metric, change["a"]), number(metric, change["change"], "+"), span(metric, change, "change", "+"), p]
