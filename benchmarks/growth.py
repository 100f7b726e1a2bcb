"""f: how the update grows with group, prompt, batch, vocabulary and width: fitted exponents.

    python -m benchmarks.growth [--quick]

CPU seconds of one GRPO step (reference forward, policy forward and backward) of the small model while one size doubles
and the others stay; time ~ size^k, k by least squares on logarithms over all points, and between the last two. Per
row, time is proportional to G and to P + R; with the prompt shared it is proportional to P + GR, so the exponent of G
stays below one until the responses outweigh the prompt. Attention's quadratic part shows in P only when it is long.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import measure
from benchmarks.command import Result, main, number, table
from benchmarks.models import SMALL, TINY, Shape, make_groups, make_pair, widened

BASE = {"prompt": 256, "response": 32, "group": 8, "n": 2}


@dataclass(frozen=True)
class Axis:
    """One size that grows. make(value) → (shape, keyword arguments of make_groups)."""

    name: str
    values: Sequence[int]
    make: Callable[[int], tuple[Shape, dict[str, int]]]


def with_width(width: int) -> Shape:
    heads = width // 64
    return widened(SMALL, hidden=width, heads=heads, kv_heads=max(1, heads // 2), intermediate=4 * width)


AXES = [
    Axis("G, responses a group", (2, 4, 8, 16, 32), lambda v: (SMALL, BASE | {"group": v})),
    Axis("P, positions of the prompt", (64, 128, 256, 512, 1024), lambda v: (SMALL, BASE | {"prompt": v})),
    Axis("prompts a batch", (1, 2, 4, 8), lambda v: (SMALL, BASE | {"n": v})),
    Axis("vocabulary", (512, 2048, 8192, 32768), lambda v: (widened(SMALL, vocab=v), BASE)),
    Axis("width of the model", (128, 256, 512, 1024), lambda v: (with_width(v), BASE | {"n": 1})),
]


def measure_all(quick: bool) -> Result:
    import torch

    torch.set_num_threads(1)
    axes = [Axis(axis.name, axis.values[:3], axis.make) for axis in AXES[:2]] if quick else AXES
    return {"axes": [measure_axis(axis, 1 if quick else 3) for axis in axes], "targets": []}


def measure_axis(axis: Axis, repeats: int) -> Result:
    """Medians over interleaved turns of all points of the axis."""
    sides = {str(value): step(*axis.make(value)) for value in axis.values}
    for side in sides.values():
        side()
    turns = measure.interleaved(sides, repeats)
    seconds = [measure.column(turns, name, "cpu_s")["median"] for name in sides]
    last = slope(axis.values[-2:], seconds[-2:])
    return {
        "name": axis.name, "values": list(axis.values), "cpu_s": seconds, "exponent": slope(axis.values, seconds),
        "last": last,
    }  # fmt: skip


def step(shape: Shape, sizes: dict[str, int]) -> Callable[[], measure.Figures]:
    """A side that runs one step of fresh gradients. The models of a point are made once."""
    from arl.losses.grpo import Grpo
    from arl.train.step import Compute, policy_backward

    policy, reference = make_pair(shape)
    groups = make_groups(shape, **sizes)

    def side() -> measure.Figures:
        policy.zero_grad(set_to_none=True)
        compute = Compute(shape.audio_token_id)
        return measure.timed(lambda: policy_backward(policy, groups, Grpo(beta=0.1), reference, compute))

    return side


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent k of seconds ~ size^k by least squares on logarithms."""
    x, y = [math.log(value) for value in sizes], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def page(result: Result) -> str:
    rows = [
        [axis["name"], " ".join(map(str, axis["values"])), " ".join(number(value) for value in axis["cpu_s"]),
         f"{axis['exponent']:.2f}", f"{axis['last']:.2f}"]
        for axis in result["axes"]
    ]  # fmt: skip
    sizes = ", ".join(f"{name} {value}" for name, value in BASE.items())
    parts = ["## f: growth", __doc__.split("\n\n")[2].strip(), f"{SMALL.words()}; else {sizes}."]
    return "\n\n".join([*parts, table(["size", "values", "CPU seconds", "exponent", "at the end"], rows)])


def tiny_axis() -> Axis:
    """For the smoke test."""
    return Axis("G", (1, 2), lambda v: (TINY, {"prompt": 8, "response": 2, "group": v, "n": 1}))


if __name__ == "__main__":
    main(measure_all, page)
