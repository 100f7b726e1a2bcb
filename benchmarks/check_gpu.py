"""`make check-gpu`: what to run first on a GPU: a line for each thing that must work there, an exit code, a JSON.

    python -m benchmarks.check_gpu [--device cpu] [--only attention,update] [--out check-gpu.json]

Small models with random weights, nothing from the network, meant for under six minutes on one GPU: an engine's start
with CUDA graphs and its life (check_engine.py), the packed attention against padded rows, an update with each loss,
offload, three steps of the loop, warm stages. A check that fails is said with its reason, and the others go on.
`--device cpu` runs all of them on a CPU: it says that the script is right, not that a GPU is. Left out: speed
(`make bench-gpu`).
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arl.losses import NAMES
from arl.losses.acoustic import Codebook
from arl.losses.registry import find_loss, make_loss
from arl.losses.settings import AcousticSettings, LossSettings
from arl.losses.spec import AcousticInputs
from arl.runtime.device import cuda_devices
from arl.train.schedule import Schedule
from benchmarks import gpu_stages as stages
from benchmarks.check_engine import Figures, Served, loop, warm
from benchmarks.command import rounded, scratch
from benchmarks.machine import describe
from benchmarks.models import SMALL, TINY, Shape, make_groups

Check = tuple[str, Callable[[], Figures]]
# Packed and per-row passes: |Δ log-prob| on average, and the gradient's difference relative to its norm.
DIFFERENCE = {"float32": (1e-3, 1e-2), "bfloat16": (0.1, 0.1)}
BOOK = Codebook(first=3, size=30, stops=(2,))  # of the acoustic losses
TEXT = "ab"  # that their hypotheses speak


def checks(device: str, folder: Path) -> Iterator[Check]:
    """(name, what raises or gives figures), in the order in which they run; what is not called costs nothing."""
    shape = TINY if device == "cpu" else replace(SMALL, vocab=4096)
    groups = make_groups(shape, 4, 60, 12, 4)
    dtypes = ("float32", "bfloat16")
    for dtype in dtypes:
        yield f"attention {dtype}", partial(attention, shape, groups, device, dtype)
    for name in NAMES:
        yield f"update {name}", partial(update, shape, device, name)
    yield "offload", partial(offload, shape, groups, device)
    served: list[Served] = []

    def start() -> Figures:
        served.append(Served.made(shape, device, folder))
        return served[0].start()

    def alive(check: Callable[[Served], Figures]) -> Figures:
        if not served:
            raise RuntimeError("no engine: it was not started")
        return check(served[0])

    try:
        yield "engine start", start
        for check in (Served.parity, Served.release, Served.resume, Served.sync):
            yield f"engine {check.__name__}", partial(alive, check)
    finally:
        if served:
            served[0].stop()
    yield "loop", partial(loop, folder / "loop")
    yield "warm stages", partial(warm, folder / "loop", device)


def attention(shape: Shape, groups: list[Any], device: str, dtype: str) -> Figures:
    """The packed pass (FlexAttention on a GPU) against padded rows, forward and backward."""
    import torch

    from arl.train.shared_prefix import is_packed, per_row_log_probs, shared_log_probs

    model = stages.make_learner(shape, device, dtype=dtype).model
    if not is_packed(model):
        raise RuntimeError(f"{dtype} on {device} is not packed")
    found, gradients = [], []
    for packed in (True, False):
        if packed:
            log_probs = shared_log_probs(model, groups, shape.audio_token_id).log_probs
        else:
            log_probs = per_row_log_probs(model, groups, shape.audio_token_id)
        weights = torch.linspace(-1, 1, len(log_probs), device=log_probs.device)
        gradients.append(torch.autograd.grad((weights * log_probs).sum(), list(model.parameters())))
        found.append(log_probs.detach())
    difference = float((found[0] - found[1]).abs().mean())
    apart = [(one.double() - other.double()).norm() for one, other in zip(*gradients, strict=True)]
    norm = torch.stack([other.double().norm() for other in gradients[1]]).norm()
    relative = float(torch.stack(apart).norm() / norm)
    forward, backward = DIFFERENCE[dtype]
    if not (difference <= forward and relative <= backward):
        raise RuntimeError(f"log-probs differ by {difference:.2e} on average, gradients by {relative:.2e}")
    return {"log_prob_difference": difference, "gradient_difference": relative}


def update(shape: Shape, device: str, name: str) -> Figures:
    """A step with a loss: finite, and the weights have moved."""
    from arl.train.data import Batch

    learner = stages.make_learner(shape, device)
    learner.schedule = Schedule(1e-2)  # that a bfloat16 weight shows
    first = next(learner.model.parameters())
    before = first.detach().clone()
    trains_on = find_loss(name).trains_on
    groups = groups_for(shape, trains_on)
    step = learner.sft_step if trains_on == "transcripts" else learner.policy_step
    metrics = step(Batch(groups), loss_of(name, device))
    if not math.isfinite(metrics["loss"]) or not metrics["grad_norm"] > 0 or bool((first == before).all()):
        raise RuntimeError(f"loss {metrics['loss']}, gradient's norm {metrics['grad_norm']}, or weights as before")
    return metrics


def groups_for(shape: Shape, trains_on: str) -> list[Any]:
    """Random groups with what a loss of this kind reads: errors, texts, codes."""
    import torch

    groups = make_groups(shape, 4, 60, 12, 1 if trains_on == "transcripts" else 4)
    for group in groups:
        group.errors = [float(index) for index in range(len(group.responses))]
        if trains_on == "acoustic rollouts":
            group.text = TEXT
            group.responses = [torch.randint(BOOK.first, BOOK.first + BOOK.size, (12,)) for _ in group.responses]
    return groups


def loss_of(name: str, device: str) -> Any:
    """A loss with its defaults; one on acoustic tokens with a small recogniser of random weights as its head."""
    if find_loss(name).trains_on != "acoustic rollouts":
        return make_loss(LossSettings(loss=name))
    from arl.losses.heads import WeightedHead
    from arl.models.token_asr.model import TokenAsr

    head = TokenAsr(BOOK.size, width=16, heads=2, layers=1).to(device).requires_grad_(False).eval()
    acoustic = AcousticInputs([WeightedHead("token_asr", head)], BOOK)
    return make_loss(LossSettings(loss=name, acoustic=AcousticSettings()), acoustic)


def offload(shape: Shape, groups: list[Any], device: str) -> Figures:
    """Two steps with and without `--offload` give the same weights; what sleeps has left the device."""
    import torch

    from arl.train.data import Batch

    learners = [stages.make_learner(shape, device, offload=is_off) for is_off in (False, True)]
    for learner in learners:
        for _ in range(2):
            learner.policy_step(Batch(groups), loss_of("grpo", device))
    pairs = zip(*(learner.model.parameters() for learner in learners), strict=True)
    difference = max(float((one - other).detach().abs().max()) for one, other in pairs)
    for learner in learners:
        learner.sleep()
    left = torch.cuda.memory_allocated() / 1e6 if device != "cpu" else 0.0
    if difference > 1e-3:
        raise RuntimeError(f"weights differ by {difference:.2e}")
    return {"weights_difference": difference, "left_after_sleep_mb": left}


def run(device: str, out: Path | None, only: tuple[str, ...] = ()) -> int:
    """Runs the checks whose names begin so, a line each; how many have failed."""
    results: dict[str, Any] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="check-gpu-") as temporary:
        for name, check in checks(device, Path(temporary)):
            if only and not name.startswith(only):
                continue
            start = time.monotonic()
            try:
                results[name] = {"ok": True, **check()}
            except Exception as error:  # whatever a machine never seen does wrong: say it, and look at the rest
                results[name] = {"ok": False, "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            results[name]["seconds"] = time.monotonic() - start
            verdict = "ok" if results[name]["ok"] else f"FAILED: {results[name]['reason']}"
            print(f"{name:<20}{results[name]['seconds']:7.1f} s  {verdict}", flush=True)
            stages.free_memory(device)
    failed, seconds = sum(not result["ok"] for result in results.values()), time.monotonic() - began
    print(f"{len(results) - failed} of {len(results)} ok, {seconds:.0f} s", flush=True)
    if out is not None:
        content = {"machine": describe(), "device": device, "seconds": seconds, "checks": results}
        out.write_text(json.dumps(rounded(content), indent=1, sort_keys=True) + "\n")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for the script itself")
    parser.add_argument("--only", default="", help="checks whose names begin so, with commas")
    parser.add_argument("--out", "-o", type=Path, help="a JSON of the figures")
    given = parser.parse_args()
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the loop's stages choose by themselves
    elif not cuda_devices():
        print("check-gpu: this machine has no usable CUDA device; --device cpu tries the script", file=sys.stderr)
        return 1
    return 1 if run(given.device, given.out, tuple(filter(None, given.only.split(",")))) else 0


if __name__ == "__main__":
    sys.exit(main())
