"""The curves of the page: charts as plain data, which page.js hands to Plotly and the template shows as tables.

    charts(history(run), evaluations(run))

A chart is added here: a function of the steps and the held-out evaluations, and its row in CHARTS. A chart without a
series is left out. Left out: colours, which follow the reader's theme.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from arl.evaluation.alarms import WATCHED
from arl.evaluation.bootstrap import Interval
from arl.evaluation.page.history import Step

Steps = Sequence[Step]
HeldOut = Mapping[int, Mapping[str, Any]]  # step → summary of an evaluation
Numbers = list[float | None]
ENDS = 4  # steps at each end of the run that the distribution compares
BINS = 24
MOST = 400  # points of a curve


@dataclass(frozen=True)
class Series:
    """A curve. x: steps, or the bins' middles. y, low, high: None where nothing is known; low and high are a 95 %
    interval, [] for none. style: "line", "points" (with bars for the interval), "bars" or "stack"."""

    name: str
    x: list[float]
    y: Numbers
    low: Numbers
    high: Numbers
    style: str = "line"


@dataclass(frozen=True)
class Chart:
    """unit: of y. note: how to read it. axis: what x counts. marks: (step, warning) of the alarms that fired."""

    name: str
    title: str
    unit: str
    note: str
    series: list[Series]
    axis: str = "step"
    marks: list[tuple[int, str]] = field(default_factory=list)


def error_rates(steps: Steps, held_out: HeldOut) -> Chart:
    known = {step: summary for step, summary in held_out.items() if summary.get("wer") is not None}
    y, low, high = ([100 * one[name] for one in known.values()] for name in ("wer", "wer_low", "wer_high"))
    series = [Series("held-out", list(known), y, low, high, "points")] if known else []
    spread = [_errors(step) for step in steps]
    series += _intervals("training samples", steps, spread)
    note = (
        "Held-out: of greedy answers, or of what the judge hears in speech. Training samples are what RL learns from."
    )
    return Chart("wer", "Word error rate", "%", note, series)


def _errors(step: Step) -> Interval | None:
    """The WER of the samples in per cent: the reward `wer` is 1 - WER."""
    found, mean = step.components.get("wer"), step.row.get("sample_wer")
    if found is not None:
        return Interval(100 * (1 - found.value), 100 * (1 - found.high), 100 * (1 - found.low))
    return None if mean is None else Interval(100 * mean, 100 * mean, 100 * mean)


def rewards(steps: Steps, held_out: HeldOut) -> Chart:
    names = list(dict.fromkeys(name for step in steps for name in step.components))
    series = [*_field("total", steps, "reward")] if len(names) != 1 else []
    for name in names:
        series += _intervals(name, steps, [step.components.get(name) for step in steps])
    return Chart("reward", "Reward by component", "", "Means over the groups of a step, before weights.", series)


def kl(steps: Steps, held_out: HeldOut) -> Chart:
    note = "How far the policy has moved from the one it began as."
    return Chart("kl", "KL to the reference", "nats per token", note, _field("KL", steps, "kl"))


def entropy(steps: Steps, held_out: HeldOut) -> Chart:
    note = "How undecided the policy is. A fall to 0 ends exploration."
    return Chart("entropy", "Entropy", "nats per token", note, _field("entropy", steps, "entropy"))


def length(steps: Steps, held_out: HeldOut) -> Chart:
    return Chart("length", "Length of a hypothesis", "tokens", "Mean over samples.", _field("length", steps, "length"))


def gradient(steps: Steps, held_out: HeldOut) -> Chart:
    note = "Before clipping to --max-norm."
    return Chart("gradient", "Gradient norm", "", note, _field("gradient norm", steps, "grad_norm"))


def groups(steps: Steps, held_out: HeldOut) -> Chart:
    shares = [None if step.no_variance is None else 100 * step.no_variance for step in steps]
    note = "Groups whose hypotheses all have the same reward teach nothing."
    return Chart("groups", "Groups without a reward difference", "%", note, _line("share", steps, shares))


def seconds(steps: Steps, held_out: HeldOut) -> Chart:
    """Evaluations are no part of a step."""
    note = "Stages overlap where they share a pipe."
    stages = dict.fromkeys(stage for step in steps for stage in step.row["seconds"])
    values = {stage: [step.row["seconds"].get(stage, 0.0) for step in steps] for stage in stages}
    series = [one for stage in stages for one in _line(stage, steps, values[stage], "stack")]
    return Chart("seconds", "Seconds by stage", "s", note, series)


def memory(steps: Steps, held_out: HeldOut) -> Chart:
    note = "Peak of each stage's process, of its GPU where it has one. The engine is not in it."
    stages = dict.fromkeys(stage for step in steps for stage in step.memory_mb)
    series = [one for stage in stages for one in _line(stage, steps, [_gigabytes(step, stage) for step in steps])]
    return Chart("memory", "Memory by stage", "GB", note, series)


def _gigabytes(step: Step, stage: str) -> float | None:
    found = step.memory_mb.get(stage)
    return None if found is None else found / 1000


def watched(steps: Steps, held_out: HeldOut) -> Chart:
    """What `arl.evaluation.alarms` watches, against its first value."""
    series = []
    for name, (words, _) in WATCHED.items():
        values = [step.row.get("watched", {}).get(name) for step in steps]
        first = next((value for value in values if value), None)
        if first:
            series += _line(words, steps, [None if value is None else 100 * value / first for value in values])
    note = "What listeners lose while a gamed reward rises, against the first step."
    return Chart("watched", "What the reward does not see", "% of step 1", note, series)


def distribution(steps: Steps, held_out: HeldOut) -> Chart:
    """Shares of hypotheses by reward, at both ends of the run."""
    ends = {"first": steps[:ENDS], "last": steps[ENDS:][-ENDS:]}
    totals = {name: np.concatenate([step.rewards for step in own]) for name, own in ends.items() if own}
    totals = {name: values for name, values in totals.items() if len(values)}
    series = []
    if totals:
        low, high = (float(end([end(values) for values in totals.values()])) for end in (min, max))
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for name, values in totals.items():
            shares = (100 * np.histogram(values, edges)[0] / len(values)).tolist()
            first, last = ends[name][0].number, ends[name][-1].number
            where = f"steps {first} to {last}"
            series.append(Series(where, ((edges[1:] + edges[:-1]) / 2).tolist(), shares, [], [], "bars"))
    note = "Shares of all hypotheses of these steps. It should move to the right, not only grow narrower."
    return Chart("distribution", "Reward distribution", "% of hypotheses", note, series, axis="reward")


CHARTS: tuple[Callable[[Steps, HeldOut], Chart], ...] = (
    error_rates, rewards, distribution, watched, kl, entropy, length, gradient, groups, seconds, memory,
)  # fmt: skip
ALARMED = ("reward", "watched")  # the charts on which alarms are marked


def charts(steps: Steps, held_out: HeldOut, alarms: Iterable[tuple[int, str]] = ()) -> list[Chart]:
    """All charts that have a series. alarms: (step, warning) of those that fired."""
    marks = list(alarms)[-MOST:]
    found = [draw(steps, held_out) for draw in CHARTS]
    return [
        replace(one, series=[*map(thinned, one.series)], marks=marks if one.name in ALARMED else [])
        for one in found
        if one.series
    ]


def thinned(series: Series) -> Series:
    """At most `MOST` points and the last one, at even distances: a page of 10,000 steps opens too."""
    every = math.ceil(len(series.x) / MOST)
    kept = sorted({*range(0, len(series.x), every), len(series.x) - 1}) if series.x else []
    x, y, low, high = ([one[at] for at in kept] if one else [] for one in (series.x, series.y, series.low, series.high))
    return Series(series.name, x, y, low, high, series.style)


def _field(name: str, steps: Steps, field: str) -> list[Series]:
    """A figure of the update's record."""
    return _line(name, steps, [step.update.get(field) for step in steps])


def _line(name: str, steps: Steps, values: Sequence[float | None], style: str = "line") -> list[Series]:
    """[] where nothing is known; NaN and infinities become gaps."""
    finite = [value if value is not None and math.isfinite(value) else None for value in values]
    if all(value is None for value in finite):
        return []
    return [Series(name, [step.number for step in steps], finite, [], [], style)]


def _intervals(name: str, steps: Steps, found: Sequence[Interval | None]) -> list[Series]:
    if all(one is None for one in found):
        return []
    y: Numbers = [one.value if one else None for one in found]
    low: Numbers = [one.low if one else None for one in found]
    high: Numbers = [one.high if one else None for one in found]
    has_width = any(one is not None and one.high > one.low for one in found)
    return [Series(name, [step.number for step in steps], y, low if has_width else [], high if has_width else [])]
