"""What `arl eval-speech` prints for people: a line per figure, and beside it the change against another evaluation."""

from collections.abc import Mapping
from typing import Any

from arl.evaluation.speech import METRICS, Metric


def show(summary: Mapping[str, Any]) -> None:
    """Figures with 95 % intervals; with "compared_with" also the baseline's, the change, its interval and p."""
    from rich.text import Text

    from arl.console import stdout_console
    from arl.evaluation.show import new_table, print_table

    console = stdout_console()
    other = summary.get("compared_with")
    console.print(Text(f"{summary['utterances']} utterances, {summary['hypotheses']} hypotheses"))
    table = new_table(console)
    heads = ("value", "95 % interval", *(("baseline", "change", "95 % interval", "p") if other else ()))
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right")
    for metric in METRICS:
        if summary[metric.name] is not None:
            change = change_cells(metric, other[metric.name]) if other else []
            table.add_row(metric.label, number(metric, summary[metric.name]), span(metric, summary), *change)
    print_table(console, table)
    if other and other.get("duration_ratio") is not None:
        ratio, low, high = (other[f"duration_ratio{end}"] for end in ("", "_low", "_high"))
        console.print(Text(f"as long as {other['path']} times {ratio:.3f} ({low:.3f} … {high:.3f})"))


def number(metric: Metric, value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value * metric.factor:{sign}{metric.form}}"


def span(metric: Metric, figures: Mapping[str, Any], name: str = "", sign: str = "") -> str:
    low, high = (figures[f"{name or metric.name}_{end}"] for end in ("low", "high"))
    return "" if low is None else f"{number(metric, low, sign)} … {number(metric, high, sign)}"


def change_cells(metric: Metric, change: Mapping[str, Any]) -> list[str]:
    p = "-" if change["p"] is None else f"{change['p']:.2g}"
    return [number(metric, change["a"]), number(metric, change["change"], "+"), span(metric, change, "change", "+"), p]
