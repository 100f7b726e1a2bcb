"""What `arl eval` prints of recognition: a column per set, a table of changes, aligned utterances."""

from collections.abc import Iterator, Sequence

from arl.evaluation.metric import Metric, Row
from arl.evaluation.recognition.alignment import merge, render
from arl.evaluation.recognition.metrics import METRICS, RULE_METRICS, WER
from arl.evaluation.recognition.score import error_count
from arl.evaluation.render import Block, Grid, Summary, change_cells, change_grid, groups

INTERVAL_WIDTH = len("  100.00 … 100.00")
CELL_WIDTH = INTERVAL_WIDTH + len("100.00 | ")
LABEL_WIDTH = len("| keyword precision ")
HUGE = 1e6  # a relative change of a rate that was 0
SIGNIFICANT = 0.05


def summary_blocks(summary: Summary, width: int) -> Iterator[Block]:
    """The metrics of each set in a column, with 95 % intervals; of the whole, whose they are and what it took."""
    shown = groups(summary)
    between = "  " if width >= LABEL_WIDTH + CELL_WIDTH * len(shown) else "\n"
    of = " ".join(f"{name} {summary[name]}" for name in ("policy", "transcripts") if name in summary)
    yield f"{of}: {summary['utterances']} utterances, {summary['words']} words"
    sets = list(shown.values())
    rows = [*metric_rows(sets, between), *language_rows(sets, between)]
    right = ["utterances right", *(f"{one['correct_utterances']}/{one['utterances']}" for one in sets)]
    yield Grid(["%, 95 % interval", *shown], [*rows, right])
    if "rtf" in summary:
        yield f"{summary['audio_s']:.1f} s of audio in {summary['seconds']:.2f} s: RTF {summary['rtf']:.4f}"
    if summary["failed"]:
        yield f"{summary['failed']} utterances failed and are not counted"
    if other := summary.get("compared_with"):
        for name, change in groups(other).items():
            start = f"{name}, against" if name else "against"
            yield f"{start} {other['path']}: {change_line(change, shown[name]['wer'])}"


def metric_rows(sets: Sequence[Summary], between: str) -> Iterator[list[str]]:
    """A label and a cell per set: the metrics that some set has, the rules that have fired.

    between: what stands between a value and its interval.
    """
    for metric in METRICS:
        if any(one[metric.name] is not None for one in sets):
            yield [metric.label, *(interval_cell(metric, one, metric.name, between) for one in sets)]
    for rule in RULE_METRICS:
        if any(one["rules"][rule.name]["utterances"] for one in sets):
            yield [rule.label, *(interval_cell(rule, one["rules"][rule.name], "rate", between) for one in sets)]


def language_rows(sets: Sequence[Summary], between: str) -> Iterator[list[str]]:
    """The error rate of each language, where there are several."""
    languages = sorted({code for one in sets for code in one["languages"]})
    for code in languages if len(languages) > 1 else ():
        rates = [one["languages"].get(code) for one in sets]
        unit = next(rate["unit"] for rate in rates if rate)
        name = "CER" if unit == "characters" else "WER"
        yield [f"{name} of {code or 'no language'}", *(interval_cell(WER, rate, "wer", between) for rate in rates)]


def interval_cell(metric: Metric, values: Summary | None, name: str, between: str) -> str:
    """A value and its interval in one cell."""
    if values is None or values[name] is None:
        return "-" if between == "\n" else "-" + " " * INTERVAL_WIDTH
    interval = metric.span(values[f"{name}_low"], values[f"{name}_high"])
    return f"{metric.number(values[name])}{between}{interval:>{INTERVAL_WIDTH - len(between)}}"


def relative_percent(value: float) -> str:
    """Against a rate of 0 a change has no end."""
    return "+∞" if value > HUGE else f"{100 * value:+.1f}"


def relative_cells(change: Summary) -> list[str]:
    """The relative change of the WER and the ends of its interval."""
    return [relative_percent(change[name]) for name in ("relative", "relative_low", "relative_high")]


def change_line(change: Summary, new: float | None) -> str:
    """WER before and after, the relative change, and whether it is significant."""
    relative, low, high = relative_cells(change)
    significant = "" if change["p"] < SIGNIFICANT else ", not significant"
    return (
        f"WER {WER.number(change['wer'])} % → {WER.number(new)} %, relative {relative} % "
        f"(95 % paired, over utterances: {low} … {high} %, p = {change['p']:.2g}{significant})"
    )


def comparison_blocks(name: str, one: Summary) -> Iterator[Block]:
    """A and B side by side: a row per metric that one of them defines and per rule that fired in either."""
    yield f"{name}: " * bool(name) + f"{one['utterances']} utterances, {one['words']} words"
    yield change_grid("%", [*wer_rows(one), *change_rows(one)])


def wer_rows(one: Summary) -> Iterator[list[str]]:
    """The WER with p, and its relative change below it."""
    change = one["metrics"][WER.name]
    if (change["a"], change["b"]) != (None, None):
        yield [WER.label, *change_cells(WER, change | {"p": one["p"]})]
        relative, low, high = relative_cells(one)
        yield ["WER, relative", "", "", relative, f"{low} … {high}", ""]


def change_rows(one: Summary) -> Iterator[list[str]]:
    for metric in METRICS:
        change = one["metrics"][metric.name]
        if metric is not WER and (change["a"], change["b"]) != (None, None):
            yield [metric.label, *change_cells(metric, change)]
    for rule in RULE_METRICS:
        change = one["rules"][rule.name]
        if change["a"] or change["b"]:
            yield [rule.label, *change_cells(rule, change)]


def aligned_blocks(a: Row, b: Row, width: int) -> Iterator[Block]:
    """An utterance: its errors in A and B, and the reference and both hypotheses under each other."""
    name = "/".join(filter(None, (b["set"], b["key"])))
    words = sum(b[count] for count in ("substitutions", "deletions", "hits"))
    yield f"\n{name}: {error_count(a)} → {error_count(b)} errors in {words} words"
    yield from render(("REF", "A", "B"), merge([a["alignment"], b["alignment"]]), width)
