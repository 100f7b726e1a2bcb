"""Tables of metrics for people: on a terminal, in a pipe, and as Markdown.

    print_blocks(["2 utterances", Grid(["", "value"], [["WER, %", "12.50"]])])
    markdown("Synthesised speech", blocks)

In a pipe nothing is drawn or coloured and no line is broken. Left out: the data themselves; `--json` and the folder
have them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from arl.evaluation.metric import Metric
from arl.runtime.console import stdout_console

Summary = Mapping[str, Any]
ALL = "all sets"
CHANGE_HEADS = {"A": "100.00", "B": "100.00", "B − A": "+100.00", "95 %": "-100.00 … +100.00", "p": "1.2e-34"}


@dataclass(frozen=True)
class Grid:
    """A table: the heads of its columns, the first of which is on the left, and its rows.

    widths: the least width of each column, in cells; empty where the columns need none.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[int] = ()


Block: TypeAlias = str | Text | Grid


def groups(summary: Summary) -> dict[str, Summary]:
    """The named sets and, where they are several, all together; without names just that, as ""."""
    sets = summary.get("sets") or {}
    return {**sets, ALL: summary} if len(sets) > 1 else dict(sets) or {"": summary}


def terminal_width() -> int:
    """Cells of a line on standard output."""
    return stdout_console().width


def print_blocks(blocks: Iterable[Block]) -> None:
    """Lines and tables on standard output."""
    console = stdout_console()
    for block in blocks:
        if isinstance(block, Grid):
            print_table(console, rich_table(console, block))
        else:
            console.print(Text(block) if isinstance(block, str) else block)


def rich_table(console: Console, grid: Grid) -> Table:
    """A table without lines where nobody looks at it on a terminal."""
    lines = box.HEAVY_HEAD if console.is_terminal else None
    table = Table(header_style="", box=lines, pad_edge=lines is not None)
    for place, head in enumerate(grid.heads):
        width = grid.widths[place] if grid.widths else None
        table.add_column(Text(head), justify="right" if place else "left", min_width=width)
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def print_table(console: Console, table: Table) -> None:
    """In a pipe without the spaces that rich pads lines with."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def markdown(title: str, blocks: Iterable[Block]) -> str:
    """The same as a page."""
    page = [f"# {title}"]
    for block in blocks:
        page.append(markdown_table(block.heads, block.rows, right=True) if isinstance(block, Grid) else f"{block}.")
    return "\n\n".join(page) + "\n"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: bool = False) -> str:
    """A table in Markdown. right: all columns but the first on the right."""
    rule = ["---", *["---:" if right else "---"] * (len(heads) - 1)]
    return "\n".join(map(_line, [heads, rule, *rows]))


def _line(cells: Sequence[str]) -> str:
    """A line of a Markdown table; what would break it is escaped."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def change_grid(corner: str, rows: Iterable[Sequence[str]]) -> Grid:
    """A and B side by side. rows: a label, and the cells of `change_cells`."""
    widths = [len("keyword precision"), *map(len, CHANGE_HEADS.values())]
    return Grid([corner, *CHANGE_HEADS], list(rows), widths)


def change_cells(metric: Metric, change: Summary) -> list[str]:
    """A, B, B − A, its interval and p; p is empty for a metric that is not tested."""
    return [
        metric.number(change["a"]),
        metric.number(change["b"]),
        metric.number(change["change"], "+"),
        metric.span(change["change_low"], change["change_high"], "+"),
        p_cell(change["p"]) if "p" in change else "",
    ]


def p_cell(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"
