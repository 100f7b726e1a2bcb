"""What `arl eval` prints for people: a table of figures, a table of changes, aligned utterances.

In a pipe nothing is drawn or coloured and no line is broken. Left out: the data themselves; `--json` and the folder
have them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arl.evaluation.alignment import merge, render
from arl.evaluation.figures import METRICS, WER, rule_metrics
from arl.evaluation.score import error_count
from arl.runtime.console import stdout_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Figures = Mapping[str, Any]
ALL = "all sets"
INTERVAL_WIDTH = len("  100.00 … 100.00")
CELL_WIDTH = INTERVAL_WIDTH + len("100.00 | ")
LABEL_WIDTH = len("| keyword precision ")
WIDE = "-100.00 … +100.00"  # of a change
HUGE = 1e6  # a relative change of a rate that was 0


def groups(figures: Figures) -> dict[str, Figures]:
    """The named sets and, where they are several, all together; without names just that, as ""."""
    sets = figures["sets"]
    return {**sets, ALL: figures} if len(sets) > 1 else dict(sets) or {"": figures}


def percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.2f}"


def span(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None else f"{percent(low, sign)} … {percent(high, sign)}"


def new_table(console: "Console") -> "Table":
    """A table without lines where nobody looks at it on a terminal."""
    from rich import box
    from rich.table import Table

    lines = box.HEAVY_HEAD if console.is_terminal else None
    return Table(header_style="", box=lines, pad_edge=lines is not None)


def show_summary(summary: Figures, of: str) -> None:
    """The figures of each set in a column, with 95 % intervals. of: whose they are."""
    from rich.text import Text

    console = stdout_console()
    shown = groups(summary)
    between = "  " if console.width >= LABEL_WIDTH + CELL_WIDTH * len(shown) else "\n"
    console.print(Text(f"{of}: {summary['utterances']} utterances, {summary['words']} words"))
    table = new_table(console)
    for name in ("%, 95 % interval", *shown):
        table.add_column(Text(name), justify="right" if name in shown else "left")
    for label, cells in summary_lines(list(shown.values()), between):
        table.add_row(label, *cells)
    print_table(console, table)
    if "rtf" in summary:
        console.print(f"{summary['audio_s']:.1f} s of audio in {summary['seconds']:.2f} s: RTF {summary['rtf']:.4f}")
    if summary["failed"]:
        console.print(f"{summary['failed']} utterances failed and are not in these figures")
    if other := summary.get("compared_with"):
        for name, change in groups(other).items():
            start = f"{name}, against" if name else "against"
            console.print(Text(f"{start} {other['path']}: {change_line(change, shown[name]['wer'])}"))


def print_table(console: "Console", table: "Table") -> None:
    """In a pipe without the spaces that rich pads lines with."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def summary_lines(figures: Sequence[Figures], between: str) -> Iterator[tuple[str, list[str]]]:
    """(label, a cell per set): the metrics that some set has, the rules that have fired, the languages.

    between: what stands between a value and its interval.
    """
    for metric in METRICS:
        if any(one[metric.name] is not None for one in figures):
            yield metric.label, [interval_cell(one, metric.name, between) for one in figures]
    for rule in rule_metrics():
        if any(one["rules"][rule.name]["utterances"] for one in figures):
            yield rule.label, [interval_cell(one["rules"][rule.name], "rate", between) for one in figures]
    languages = sorted({code for one in figures for code in one["languages"]})
    for code in languages if len(languages) > 1 else ():
        rates = [one["languages"].get(code) for one in figures]
        unit = next(rate["unit"] for rate in rates if rate)
        name = "CER" if unit == "characters" else "WER"
        yield f"{name} of {code or 'no language'}", [interval_cell(rate, "wer", between) for rate in rates]
    yield "utterances right", [f"{one['correct_utterances']}/{one['utterances']}" for one in figures]


def interval_cell(figures: Figures | None, name: str, between: str) -> str:
    if figures is None or figures[name] is None:
        return "-" if between == "\n" else "-" + " " * INTERVAL_WIDTH
    interval = span(figures[f"{name}_low"], figures[f"{name}_high"])
    return f"{percent(figures[name])}{between}{interval:>{INTERVAL_WIDTH - len(between)}}"


def relative_percent(value: float) -> str:
    """Against a rate of 0 a change has no end."""
    return "+∞" if value > HUGE else f"{100 * value:+.1f}"


def change_line(change: Figures, new: float | None) -> str:
    """WER before and after, the relative change, and whether it is significant."""
    relative, low, high = (relative_percent(change[name]) for name in ("relative", "relative_low", "relative_high"))
    significant = "" if change["p"] < 0.05 else ", not significant"
    return (
        f"WER {percent(change['wer'])} % → {percent(new)} %, relative {relative} % "
        f"(95 % paired: {low} … {high} %, p = {change['p']:.2g}{significant})"
    )


def show_comparison(result: Figures, changed: Sequence[tuple[Figures, Figures]]) -> None:
    """Both evaluations side by side, then the utterances that changed most, aligned."""
    from rich.text import Text

    console = stdout_console()
    console.print(Text(f"A: {result['a']}\nB: {result['b']}"))
    for name, one in groups(result).items():
        title = f"{one['utterances']} utterances, {one['words']} words"
        console.print(Text(f"{name}: {title}" if name else title))
        table = new_table(console)
        table.add_column("%", min_width=len("keyword precision"))
        for label, widest in (("A", "100.00"), ("B", "100.00"), ("B − A", "+100.00"), ("95 %", WIDE), ("p", "1.2e-34")):
            table.add_column(label, justify="right", min_width=len(widest))
        for cells in change_rows(one):
            table.add_row(*cells)
        print_table(console, table)
    for a, b in changed:
        name = "/".join(filter(None, (b["set"], b["key"])))
        words = sum(b[count] for count in ("substitutions", "deletions", "hits"))
        console.print(Text(f"\n{name}: {error_count(a)} → {error_count(b)} errors in {words} words"))
        columns = merge([a["alignment"], b["alignment"]])
        for line in render(("REF", "A", "B"), columns, console.width):
            console.print(line)


def change_rows(one: Figures) -> Iterator[list[str]]:
    """A row per metric that A or B defines and per rule that fired in either; the WER's relative change below it."""
    for metric in (*METRICS, *rule_metrics()):
        values = one["metrics"].get(metric.name) or one["rules"][metric.name]
        sides = (values["a"], values["b"])
        if sides == (None, None) or (metric.name in one["rules"] and not any(sides)):
            continue
        change = [percent(values["change"], "+"), span(values["change_low"], values["change_high"], "+")]
        p = f"{one['p']:.2g}" if metric is WER else ""
        yield [metric.label, *map(percent, sides), *change, p]
        if metric is WER:
            relative, low, high = (
                relative_percent(one[name]) for name in ("relative", "relative_low", "relative_high")
            )
            yield ["WER, relative", "", "", relative, f"{low} … {high}", ""]
