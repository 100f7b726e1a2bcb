"""`make check-gpu`: what to run first on a GPU: a line for each thing that must work there, an exit code, a JSON.

    python -m benchmarks.check_gpu [--device cpu] [--out check-gpu.json]

Small models with random weights, nothing from the network, meant for under six minutes on one GPU. A check that fails
is said with its reason, and the others go on. `--device cpu` runs those that need no engine on a CPU, as the tests do:
it says that the script is right, not that a GPU is. Left out: speed (`make bench-gpu`).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arl.losses.registry import losses_on, make_loss
from arl.losses.settings import LossSettings
from arl.runtime.device import cuda_devices
from benchmarks import gpu_stages as stages
from benchmarks.command import rounded, scratch
from benchmarks.machine import describe
from benchmarks.models import SMALL, TINY, Shape, make_groups

Check = tuple[str, Callable[[], dict[str, Any]]]
SHIFT = 0.1  # |Δ log-prob| of packed and per-row passes in bfloat16, on average; 1e-3 in float32
FREED_MB = 500  # that a released engine gives back at least


def checks(device: str, folder: Path) -> Iterator[Check]:
    """(name, what raises or gives figures), in the order in which they run."""
    shape = TINY if device == "cpu" else replace(SMALL, vocab=4096)
    groups = make_groups(shape, 4, 60, 12, 4)
    if device != "cpu":
        yield "engine", lambda: engine(shape, folder, device)
    yield "packed attention", lambda: attention(shape, groups, device)
    for name in losses_on("rollouts"):
        yield f"update {name}", partial(update, shape, groups, device, name)
    yield "offload", lambda: offload(shape, groups, device)


def engine(shape: Shape, folder: Path, device: str) -> dict[str, Any]:
    """Start with CUDA graphs in bfloat16, the probe, release with figures, resume, and other weights."""
    import torch

    from arl.engine import server, session
    from arl.engine.served_model import ServedModel
    from arl.policy import Policy
    from benchmarks.models import make_policy

    first, second = (
        Policy.open(make_policy(folder / f"policy-{seed}", shape, seed, "bfloat16", device)) for seed in (0, 1)
    )
    start = time.monotonic()
    client = server.Engine(server.start(first.path, folder / "engine", device=device))
    figures = {"start_s": time.monotonic() - start, **session.prove(client, first, 0.0)}
    try:
        before = torch.cuda.mem_get_info()[0] / 1e6
        client.release()
        time.sleep(2.0)
        figures["freed_mb"] = torch.cuda.mem_get_info()[0] / 1e6 - before
        if figures["freed_mb"] < FREED_MB:
            raise RuntimeError(f"release freed {figures['freed_mb']:.0f} MB")
        client.wake(ServedModel.of(first))
        session.prove(client, first, 0.0)
        client.update_weights(ServedModel.of(second))
        figures["synced_probe_mean"] = session.prove(client, second, 0.0)["probe_mean"]
    finally:
        server.stop(folder / "engine")
    return figures


def attention(shape: Shape, groups: list[Any], device: str) -> dict[str, Any]:
    """The packed pass (FlexAttention on a GPU) against rows, forward and backward."""
    import torch

    from arl.train.shared_prefix import per_row_log_probs, shared_log_probs

    learner = stages.make_learner(shape, device)
    with torch.no_grad():
        packed = shared_log_probs(learner.model, groups, shape.audio_token_id).log_probs
        rows = per_row_log_probs(learner.model, groups, shape.audio_token_id)
    difference = float((packed - rows).abs().mean())
    if not difference <= (1e-3 if device == "cpu" else SHIFT):
        raise RuntimeError(f"log-probs differ by {difference:.2e} on average")
    compared = stages.against_rows(learner, groups, device)
    if not compared["norm_difference"] <= 0.05:
        raise RuntimeError(f"the gradients' norms differ by {compared['norm_difference']:.2e}")
    return {"log_prob_difference": difference, **compared}


def update(shape: Shape, groups: list[Any], device: str, name: str) -> dict[str, Any]:
    """A step with a loss: finite, and the weights have moved."""
    from arl.train.data import Batch

    learner = stages.make_learner(shape, device)
    return learner.policy_step(Batch(groups), make_loss(LossSettings(loss=name)))


def offload(shape: Shape, groups: list[Any], device: str) -> dict[str, Any]:
    """Two steps with and without `--offload` give the same weights; what sleeps has left the device."""
    import torch

    from arl.train.data import Batch

    learners = [stages.make_learner(shape, device, offload=is_off) for is_off in (False, True)]
    for learner in learners:
        for _ in range(2):
            learner.policy_step(Batch(groups), make_loss(LossSettings(loss="grpo")))
    pairs = zip(*(learner.model.parameters() for learner in learners), strict=True)
    difference = max(float((one - other).detach().abs().max()) for one, other in pairs)
    for learner in learners:
        learner.sleep()
    left = torch.cuda.memory_allocated() / 1e6 if device != "cpu" else 0.0
    if difference > 1e-3:
        raise RuntimeError(f"weights differ by {difference:.2e}")
    return {"weights_difference": difference, "left_after_sleep_mb": left}


def run(device: str, out: Path | None) -> int:
    """Runs the checks, a line each; how many have failed."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="check-gpu-") as temporary:
        for name, check in checks(device, Path(temporary)):
            start = time.monotonic()
            try:
                results[name] = {"ok": True, **check()}
            except Exception as error:  # whatever a machine never seen does wrong: say it, and look at the rest
                results[name] = {"ok": False, "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            results[name]["seconds"] = time.monotonic() - start
            verdict = "ok" if results[name]["ok"] else f"FAILED: {results[name]['reason']}"
            print(f"{name:<20}{results[name]['seconds']:7.1f} s  {verdict}", flush=True)
            stages.free_memory(device)
    if out is not None:
        content = {"machine": describe(), "device": device, "checks": rounded(results)}
        out.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return sum(not result["ok"] for result in results.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for what needs no GPU")
    parser.add_argument("--out", "-o", type=Path, help="a JSON of the figures")
    given = parser.parse_args()
    if given.device != "cpu" and not cuda_devices():
        print("check-gpu: this machine has no usable CUDA device; --device cpu tries the script", file=sys.stderr)
        return 1
    return 1 if run(given.device, given.out) else 0


if __name__ == "__main__":
    sys.exit(main())
