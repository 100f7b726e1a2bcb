"""`make bench-gpu`: a whole step at real size on one CUDA GPU, stage by stage, with random weights and no network.

    python -m benchmarks.gpu [--only 0.5B] [--minutes 8]

32 utterances of 10 to 30 s, G=12, responses of 3 tokens a second: encode (a Whisper large-v3 tower in bfloat16),
rollout (SGLang, where it is installed and starts), reward (WER), update (reference pass, policy, AdamW; with its wake
and sleep), and the policy's weights to disk and, with an engine, into it. The real-time factor is counted as in arXiv
2509.18569: seconds of audio including the group's copies over seconds of wall. A stage that cannot be measured here is
named with its reason, is not in the step's seconds, and the factor says so. Models that would not fit the time left
are skipped. Everything is done by the stages' own functions; the encoder's features are computed on the CPU.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import gpu_stages as stages
from benchmarks.command import Result, number, rounded, scratch, table
from benchmarks.gpu_stages import GROUP
from benchmarks.machine import describe
from benchmarks.models import QWEN2_05B, QWEN2_7B, TINY, Shape, make_groups

RATE_HZ, TOKENS_PER_S, UTTERANCES = 25, 3, 32
LONGEST_S = {"0.5B": 180, "7B": 270}  # wall seconds that a model may need on one H200-class GPU


@dataclass
class Batch:
    """A step's utterances, longest first. seconds: of each clip."""

    seconds: list[float]

    @classmethod
    def random(cls, n: int, low: float = 10.0, high: float = 30.0) -> "Batch":
        rng = random.Random(0)
        return cls(sorted((rng.uniform(low, high) for _ in range(n)), reverse=True))

    @property
    def audio_s(self) -> float:
        """As the paper counts it: once per hypothesis."""
        return GROUP * sum(self.seconds)

    def groups(self, shape: Shape) -> list[Any]:
        made = []
        for index, seconds in enumerate(self.seconds):
            sizes = int(seconds * RATE_HZ), max(1, int(seconds * TOKENS_PER_S))
            (group,) = make_groups(shape, 1, *sizes, GROUP, seed=index)
            group.key = f"utt-{index}"
            group.clips = [clip.bfloat16() for clip in group.clips]
            made.append(group)
        return made


@dataclass
class Report:
    """Seconds by stage, other figures, and why a stage is missing."""

    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def attempt(self, stage: str, work: Callable[[], dict[str, Any]]) -> None:
        """Runs a stage; `work` returns {"seconds", …}. Whatever stops it is recorded, and the others go on."""
        print(f"  {stage} …", file=sys.stderr, flush=True)
        try:
            found = work()
        except Exception as error:  # a benchmark on a machine never seen: say what failed, measure the rest
            self.missing[stage] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
            return
        self.seconds[stage] = found.pop("seconds")
        self.figures[stage] = found


def measure_shape(shape: Shape, device: str, batch: Batch) -> Result:
    """All stages of one model."""
    report, tiny = Report(), shape is TINY
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="gpu-") as temporary:
        folder, groups = Path(temporary), batch.groups(shape)
        report.attempt("encode", lambda: stages.encode(batch.seconds, shape.hidden, device, tiny))
        if device != "cpu" or not tiny:
            report.attempt("rollout", lambda: stages.rollout(shape, groups, folder, device))
        else:
            report.missing["rollout"] = "left out on a CPU: benchmarks/rollout.py measures it"
        report.attempt("reward", lambda: stages.reward(groups))
        stages.free_memory(device)
        report.attempt("update", lambda: stages.update(shape, groups, folder, device))
        stages.free_memory(device)
    whole = sum(value for stage, value in report.seconds.items() if stage != "encode")
    if (found := report.figures.get("update")) is not None:
        whole += found["wake_s"] + found["sleep_s"] + found["write_s"]
    whole += report.figures.get("rollout", {}).get("sync_s", 0.0)
    return {
        "model": shape.name, "words": shape.words(), "utterances": len(batch.seconds), "audio_s": batch.audio_s,
        "seconds": report.seconds, "figures": report.figures, "missing": report.missing, "step_s": whole,
        "rtf": batch.audio_s / whole if whole else 0.0,
    }  # fmt: skip


def page(content: Result) -> str:
    machine = content["machine"]
    parts = ["# Benchmark on a GPU", __doc__.split("\n\n")[2].strip(),
             f"{machine.get('gpu', 'no GPU')}, {machine['cores']} cores, {machine['memory_gb']} GB."]  # fmt: skip
    for result in content["models"]:
        rows = []
        for stage, seconds in result["seconds"].items():
            others = result["figures"][stage]
            shown = ", ".join(f"{name} {number(value)}" for name, value in others.items())
            share = "once a dataset" if stage == "encode" else f"{100 * seconds / result['step_s']:.0f} %"
            rows.append([stage, number(seconds), share, shown])
        rows += [[stage, "not measured", "", reason] for stage, reason in result["missing"].items()]
        without = f", without {' and '.join(result['missing'])}" if result["missing"] else ""
        parts += [
            f"## {result['words']}",
            f"{result['utterances']} utterances, {result['audio_s']:.0f} s of audio with the group: a step takes "
            f"{number(result['step_s'])} s{without}; real-time factor {number(result['rtf'])}.",
            table(["stage", "seconds", "of the step", "figures"], rows),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["0.5B", "7B"], help="one model")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing that would not end by then")
    parser.add_argument("--out", "-o", type=Path, default=Path(__file__).resolve().parent)
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("bench-gpu: this machine has no CUDA device; `make bench` measures on a CPU", file=sys.stderr)
        return 1
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    end = time.monotonic() + 60 * given.minutes
    content: Result = {"machine": describe(), "models": [], "skipped": []}
    for shape in (QWEN2_05B, QWEN2_7B):
        if given.only and shape.name != given.only:
            continue
        if time.monotonic() + LONGEST_S[shape.name] > end:
            content["skipped"].append(shape.name)
            continue
        print(f"bench-gpu: {shape.name}", file=sys.stderr, flush=True)
        content["models"].append(measure_shape(shape, "cuda", Batch.random(UTTERANCES)))
        (given.out / "gpu.json").write_text(json.dumps(rounded(content), indent=1, sort_keys=True) + "\n")
        (given.out / "RESULTS-GPU.md").write_text(page(content))
    print(page(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
