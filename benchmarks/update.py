"""b: the update and its reference pass with each prompt computed once, against the per-row computation.

    python -m benchmarks.update [--quick]

One GRPO step's arithmetic: reference forward, policy forward and backward (no optimizer, no reading), float32, one
thread, for prompts of P positions and groups of G responses of R tokens. The limit is the ratio of token counts,
G(P+R) / (P+GR): what sharing could give if time went by tokens alone. Both sides get the token budget of `arl update`
and the gradients are compared. Memory: one whole group in one pass, on both sides.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import measure
from benchmarks.command import Result, main, number, table, target, with_spread
from benchmarks.models import LARGER, SMALL, TINY, Shape, make_groups, make_pair

PROMPTS, RESPONSES, GROUPS = (64, 256, 750), (20, 50), (1, 4, 8, 12, 16)
AT_G = 12  # where the larger model, memory and the targets are looked at
LEAST_TOKENS = 6000  # per-row tokens of a cell: small cells get several prompts
BUDGET = 8192  # padded positions of a micro-batch: the default of `arl update`


@dataclass(frozen=True)
class Cell:
    """P, R, G of the module's docstring, and how many prompts."""

    prompt: int
    response: int
    group: int
    n: int

    @property
    def limit(self) -> float:
        return self.group * (self.prompt + self.response) / (self.prompt + self.group * self.response)


def cell(prompt: int, response: int, group: int) -> Cell:
    rows = group * (prompt + response)
    return Cell(prompt, response, group, max(1, min(8, round(LEAST_TOKENS / rows))))


def grid(shape: Shape, quick: bool) -> list[Cell]:
    if shape is TINY:
        return [Cell(24, 4, 3, 2)]
    if quick:
        return [Cell(64, 20, 4, 4), Cell(256, 50, AT_G, 1)]
    if shape is SMALL:
        chosen: Any = itertools.product(PROMPTS, RESPONSES, GROUPS)
    else:
        chosen = [(p, r, AT_G) for p, r in ((256, 20), (256, 50), (750, 50))]
    return [cell(*sizes) for sizes in chosen]


def measure_all(quick: bool) -> Result:
    import torch

    torch.set_num_threads(1)
    shapes = (SMALL,) if quick else (SMALL, LARGER)
    results = [measure_shape(shape, grid(shape, quick), quick) for shape in shapes]
    return {"models": results, "targets": [] if quick else targets(results)}


def measure_shape(shape: Shape, cells: Sequence[Cell], quick: bool) -> Result:
    """Every cell for one model; memory and the gradients' agreement at G = AT_G."""
    policy, reference = make_pair(shape)
    found = []
    for one in cells:
        extra: Result = {}
        if one.group == AT_G or shape is TINY:
            extra["memory_mb"] = memory(shape, policy, reference, one)  # first: forks want a parent that is small
        sides = make_sides(shape, policy, reference, one)
        difference = agreement(policy, sides)  # it is the warm-up as well
        repeats = 2 if quick else 5 if one.group == AT_G else 3
        turns = measure.interleaved(sides, repeats)
        found.append({
            "P": one.prompt, "R": one.response, "G": one.group, "prompts": one.n, "limit": one.limit,
            "ratio": measure.ratios(turns, "rows", "shared", "cpu_s"),
            "reference": measure.ratios(turns, "rows", "shared", "reference_s"),
            "update": measure.ratios(turns, "rows", "shared", "update_s"),
            "rows_cpu_s": measure.column(turns, "rows", "cpu_s"),
            "shared_cpu_s": measure.column(turns, "shared", "cpu_s"),
            "gradient_difference": difference, **extra,
        })  # fmt: skip
    return {"model": shape.name, "words": shape.words(), "cells": found}


def make_sides(
    shape: Shape, policy: Any, reference: Any, one: Cell, budget: int = BUDGET
) -> dict[str, Callable[[], measure.Figures]]:
    """{"rows", "shared"}: each adds the gradient of the same step and says what it cost."""
    from arl.losses.grpo import Grpo
    from arl.train.step import Compute, policy_backward
    from benchmarks.per_row import row_backward

    groups = make_groups(shape, one.n, one.prompt, one.response, one.group)
    loss = Grpo(beta=0.1)
    timed_reference = ReferenceTimer(reference)

    def shared() -> None:
        policy_backward(policy, groups, loss, timed_reference.model, Compute(shape.audio_token_id, budget))

    def rows() -> None:
        row_backward(policy, groups, loss, timed_reference.model, shape.audio_token_id, budget)

    def side(work: Callable[[], None]) -> Callable[[], measure.Figures]:
        def run() -> measure.Figures:
            policy.zero_grad(set_to_none=True)
            timed_reference.seconds = 0.0
            figures = measure.timed(work)
            of_reference = timed_reference.seconds
            return figures | {"reference_s": of_reference, "update_s": figures["cpu_s"] - of_reference}

        return run

    return {"rows": side(rows), "shared": side(shared)}


class ReferenceTimer:
    """Adds up the CPU seconds of a frozen model's decoder, whoever calls it."""

    def __init__(self, model: Any) -> None:
        self.model, self.seconds, self._start = model, 0.0, 0.0
        decoder = model.get_decoder()
        if hasattr(decoder, "benchmark_hooks"):
            for handle in decoder.benchmark_hooks:
                handle.remove()
        decoder.benchmark_hooks = [
            decoder.register_forward_pre_hook(self._begin),
            decoder.register_forward_hook(self._end),
        ]

    def _begin(self, *_: Any) -> None:
        self._start = time.process_time()

    def _end(self, *_: Any) -> None:
        self.seconds += time.process_time() - self._start


def agreement(policy: Any, sides: dict[str, Callable[[], measure.Figures]]) -> float:
    """max |Δ| of the two gradients relative to the largest entry of each parameter's; RuntimeError if they differ."""
    gradients = []
    for run in sides.values():
        run()
        gradients.append([p.grad for p in policy.parameters()])
    pairs = zip(*gradients, strict=True)
    difference = max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs)
    if not difference < 1e-2:
        raise RuntimeError(f"the two computations do not agree: gradients differ by {difference:.1e}")
    return difference


def memory(shape: Shape, policy: Any, reference: Any, one: Cell) -> Result:
    """Peak MB above the two models, of one group in one pass."""
    alone = Cell(one.prompt, one.response, one.group, 1)
    whole = one.group * (one.prompt + one.response)
    sides = make_sides(shape, policy, reference, alone, budget=whole)
    peaks = {name: measure.peak_memory_mb(run) for name, run in sides.items()}
    return {**peaks, "ratio": peaks["shared"] / peaks["rows"]}


def targets(results: Sequence[Result]) -> list[Result]:
    made = []
    for result in results:
        for found in result["cells"]:
            sizes = (found["P"], found["R"], found["G"])
            least = {(750, 50, AT_G): 0.9, (256, 50, AT_G): 0.95, (256, 20, AT_G): 0.95}.get(sizes)
            at = f"{result['model']} model, P={sizes[0]} R={sizes[1]} G={sizes[2]}"
            if least:
                made.append(target(f"b: share of the limit, {at}", found["ratio"]["median"] / found["limit"], least))
            if sizes == (750, 50, AT_G):
                made.append(target(f"b: memory over per-row, {at}", found["memory_mb"]["ratio"], 0.2, at_least=False))
    return made


def page(result: Result) -> str:
    head = ["P / R / G", "prompts", "per row, s", "shared, s", "reference", "update", "both", "limit", "of limit",
            "memory, MB"]  # fmt: skip
    parts = ["## b: update and reference pass against per-row", __doc__.split("\n\n")[2].strip()]
    for model in result["models"]:
        rows = []
        for c in model["cells"]:
            peak = c.get("memory_mb")
            rows.append([
                f"{c['P']} / {c['R']} / {c['G']}", c["prompts"], number(c["rows_cpu_s"]["median"]),
                number(c["shared_cpu_s"]["median"]), number(c["reference"]["median"]) + "x",
                number(c["update"]["median"]) + "x", with_spread(c["ratio"], "x"), number(c["limit"]) + "x",
                f"{c['ratio']['median'] / c['limit']:.2f}",
                f"{peak['shared']:.0f} / {peak['rows']:.0f} = {peak['ratio']:.2f}" if peak else "",
            ])  # fmt: skip
        parts += [f"{model['model']}: {model['words']}. CPU seconds.", table(head, rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main(measure_all, page)
