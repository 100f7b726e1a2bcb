"""a: one whole on-policy GRPO step against TRL's GRPOTrainer, its newest release, in its own environment.

    python -m benchmarks.trl_step [--quick]       (make bench builds .bench/trl first)

Same weights and reference, same prompts, token counts, group, loss, optimizer, threads; float32. A step of TRL's:
generation by transformers, rewards, reference log-probs, loss, backward, AdamW. A step of ours: generation by the
resident engine, rewards, the update with its reference pass and AdamW, writing the next policy to disk with its
optimizer state (fsync included), and loading it into the engine: what the loop does, in warm processes. The engine's
processes are counted. Both sides are given without generation as well (ours then is update, writing and sync). The two
run in turn; the first step of each is a warm-up, and ours computes the gradient of TRL's first step to compare. TRL
checkpoints activations unless told not to: it is told not to, but for one table that shows what users get by default.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.command import Result, main, number, scratch, table, target, with_spread
from benchmarks.models import LARGER, SMALL, Shape, make_policy

TRL = Path(".bench/trl/bin/python")
HERE = Path(__file__).resolve().parent
WANTED = 6.0


@dataclass(frozen=True)
class Sizes:
    """P, R, G and prompts of a step; measured steps. Of TRL: rows of a micro-batch, activation checkpointing."""

    prompt: int = 256
    response: int = 24
    group: int = 12
    prompts: int = 8
    micro: int = 12
    checkpointing: bool = False
    steps: int = 3


def measure_all(quick: bool) -> Result:
    plan = [(SMALL, Sizes(prompts=2, steps=1))]
    if not quick:
        plan = [(SMALL, Sizes(steps=5)), (SMALL, Sizes(checkpointing=True)), (LARGER, Sizes())]
    results = [measure_shape(shape, sizes) for shape, sizes in plan]
    targets = [
        target(f"a: TRL's CPU seconds over ours, whole step, {r['model']} model", r["cpu"]["median"], WANTED)
        for r in results
        if not r["sizes"]["checkpointing"]
    ]
    return {"models": results, "targets": [] if quick else targets, "trl": versions()}


def measure_shape(shape: Shape, sizes: Sizes) -> Result:
    """Starts both sides on the same policy, compares the first gradient, then times steps in turn."""
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="trl-") as temporary:
        folder = Path(temporary).resolve()
        settings = write_settings(folder, shape, sizes)
        theirs = Side([str(TRL), str(HERE / "trl_side.py"), str(settings)], folder / "trl.log", cold_environment())
        ours = Side([sys.executable, "-m", "benchmarks.our_side", str(settings)], folder / "ours.log", dict(os.environ))
        try:
            theirs.step()
            difference = ours.step("check")["difference"]
            ours.step()
            turns = measure.interleaved({"trl": theirs.step, "ours": ours.step}, sizes.steps)
        finally:
            theirs.close()
            ours.close()
    for turn in turns:
        for side in turn.values():
            side |= {f"rest_{unit}": side[unit] - side[f"generation_{unit}"] for unit in ("cpu_s", "wall_s")}
    figures = {
        side: {name: measure.column(turns, side, name) for name in turns[0][side] if name.endswith("_s")}
        for side in turns[0]
    }
    return {
        "model": shape.name, "words": shape.words(), "sizes": sizes.__dict__, "gradient_difference": difference,
        "cpu": measure.ratios(turns, "trl", "ours", "cpu_s"), "wall": measure.ratios(turns, "trl", "ours", "wall_s"),
        "cpu_rest": measure.ratios(turns, "trl", "ours", "rest_cpu_s"),
        "cpu_generation": measure.ratios(turns, "trl", "ours", "generation_cpu_s"), "seconds": figures,
    }  # fmt: skip


def write_settings(folder: Path, shape: Shape, sizes: Sizes) -> Path:
    """Makes policy and reference, and writes down what both sides need to know."""
    import random

    policy = make_policy(folder / "policy", shape, seed=0)
    reference = make_policy(folder / "reference", shape, seed=1)
    rng = random.Random(0)
    prompts = [[rng.randrange(2, shape.vocab) for _ in range(sizes.prompt)] for _ in range(sizes.prompts)]
    content = {
        **sizes.__dict__, "policy": str(policy / "llm"), "reference": str(reference / "llm"), "prompt_ids": prompts,
        "folder": str(folder), "scratch": str(folder / "trl"), "dump": str(folder / "first.safetensors"),
        "threads": int(os.environ.get("ARL_THREADS", "1")), "lr": 1e-5, "max_norm": 1e9,
    }  # fmt: skip
    path = folder / "settings.json"
    path.write_text(json.dumps(content))
    return path


def cold_environment() -> dict[str, str]:
    """Without what would let TRL's environment see ours."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}


class Side:
    """A child process that makes one step per line it is sent."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment
            )

    def step(self, word: str = "step") -> dict[str, float]:
        assert self.process.stdin
        self._answer()  # it is ready
        print(word, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            end = "\n".join(self.log.read_text().splitlines()[-15:])
            raise RuntimeError(f"{self.log.name}: the side ended:\n{end}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def versions() -> Result:
    """Of the packages of TRL's environment that matter."""
    code = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in ('trl', 'torch', 'transformers')}))"  # noqa: E501
    return json.loads(subprocess.run([str(TRL), "-c", code], capture_output=True, text=True, check=True).stdout)


def page(result: Result) -> str:
    parts = ["## a: whole step against TRL", __doc__.split("\n\n")[2].strip()]
    parts.append("TRL's environment: " + ", ".join(f"{k} {v}" for k, v in result["trl"].items()) + ".")
    head = ["one step", "TRL", "arl", "TRL / arl"]
    for model in result["models"]:
        s = model["sizes"]
        default = ", TRL's own default of checkpointing" if s["checkpointing"] else ""
        counts = (
            f"P={s['prompt']} R={s['response']} G={s['group']}, {s['prompts']} prompts, {s['steps']} steps" + default
        )
        ours, theirs = model["seconds"]["ours"], model["seconds"]["trl"]
        rows = [
            ["CPU, whole step", *both(theirs, ours, "cpu_s"), with_spread(model["cpu"], "x")],
            ["wall, whole step", *both(theirs, ours, "wall_s"), with_spread(model["wall"], "x")],
            ["CPU, generation", *both(theirs, ours, "generation_cpu_s"), with_spread(model["cpu_generation"], "x")],
            ["CPU, all but generation", *both(theirs, ours, "rest_cpu_s"), with_spread(model["cpu_rest"], "x")],
        ]
        agreed = f"First gradient: largest relative difference {model['gradient_difference']:.1e}."
        inside = ", ".join(f"{name} {number(ours[name + '_cpu_s']['median'])}" for name in ("update", "save", "sync"))
        parts += [f"{model['model']}: {model['words']}. {counts}. Seconds. {agreed} Ours without generation, CPU: "
                  f"{inside}.", table(head, rows)]  # fmt: skip
    return "\n\n".join(parts)


def both(theirs: Result, ours: Result, name: str) -> list[str]:
    return [with_spread(theirs[name]), with_spread(ours[name])]


if __name__ == "__main__":
    main(measure_all, page)
