"""The panels of `arl report --plot`: curves by step, one above the other.

A panel is added here: a function that draws, and its row in PANELS. `fields` are what it needs of the update's record;
`arl report` then reads them into the rows of the steps.

    draw(rows, held_out, Path("curve.png"))
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from arl.evaluation.picture import picture

Rows = Sequence[Mapping[str, Any]]  # one per step, as `run_report.read_step` gives them
HeldOut = Mapping[int, Mapping[str, Any]]  # step → summary of an evaluation
WIDTH, HEIGHT = 7.0, 1.6  # inches, of the picture and of a panel of height 1


@dataclass(frozen=True)
class Panel:
    """draw: onto matplotlib's axes. fields: of the update's record that rows have to hold. height: relative."""

    draw: Callable[[Any, Rows, HeldOut], None]
    fields: tuple[str, ...]
    height: float = 1.0


def draw_error_rates(axis: Any, rows: Rows, held_out: HeldOut) -> None:
    """The WER of the training samples and of the held-out evaluations; the reward where nothing has a WER."""
    has_wer = any("sample_wer" in row for row in rows) or held_out
    name, scale = ("sample_wer", 100) if has_wer else ("reward", 1)
    axis.plot(steps(rows), [scale * row.get(name, math.nan) for row in rows], ".-", label="training samples")
    if held_out:
        draw_wer(axis, held_out, label="held-out, greedy (95 %)")
    axis.set_ylabel("WER %" if has_wer else "reward")
    axis.legend()


def draw_curve(field: str, label: str, axis: Any, rows: Rows, held_out: HeldOut) -> None:
    """One field of the rows by step."""
    axis.plot(steps(rows), [row.get(field, math.nan) for row in rows], ".-")
    axis.set_ylabel(label)


PANELS = (
    Panel(draw_error_rates, ("reward", "reward_wer"), height=3),
    Panel(partial(draw_curve, "kl", "KL, nats/token"), ("kl",)),
    Panel(partial(draw_curve, "length", "tokens"), ("length",)),
)


def panel_fields() -> list[str]:
    """What all panels need of the update's record."""
    return list(dict.fromkeys(field for panel in PANELS for field in panel.fields))


def steps(rows: Rows) -> list[int]:
    return [row["step"] for row in rows]


def draw(rows: Rows, held_out: HeldOut, path: Path) -> None:
    """All panels into one picture, over one axis of steps. ArlError where matplotlib is not installed."""
    heights = [panel.height for panel in PANELS]
    size = (WIDTH, HEIGHT * sum(heights))
    with picture(path, len(PANELS), figsize=size, sharex=True, height_ratios=heights) as axes:
        for panel, axis in zip(PANELS, axes[:, 0], strict=True):
            panel.draw(axis, rows, held_out)
        axes[-1, 0].set_xlabel("step")


def draw_wer(axis: Any, held_out: HeldOut, **options: Any) -> None:
    """Word error rates in per cent, with their intervals, by step. options: of matplotlib's errorbar."""
    y = [100 * summary["wer"] for summary in held_out.values()]
    low = [max(0.0, 100 * (summary["wer"] - summary["wer_low"])) for summary in held_out.values()]
    high = [max(0.0, 100 * (summary["wer_high"] - summary["wer"])) for summary in held_out.values()]
    axis.errorbar(list(held_out), y, yerr=[low, high], fmt="s-", capsize=3, **options)
