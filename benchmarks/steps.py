"""d: the loop's step by stage, cold and warm, from the records of two `make loop` runs.

    python -m benchmarks.steps [--quick]

Two runs of the Makefile's loop from the same policy and clips, with a process per stage (`WARM=`) and with resident
stages: a policy of the demo's sizes (Whisper tiny's encoder, Qwen2 256 x 4 layers over characters) with random weights,
32 clips of 2 to 9 s of noise a step, G=12. Seconds are wall, by stage and phase from stage.jsonl; a step's own seconds
are from one stamp of make to the next, so that whatever no stage records (make, shells, the process's start) is in it.
Switching is everything but the run and write of rollout and update: load, wake, sleep, sync, and what is between. The
rewards are computed beside the rollout: what of them comes after its end counts as between. The first step of each
run is left out. Threads are the stages' own choice, as in the demo, unless --threads says otherwise.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.command import Result, main, number, scratch, table, target, with_spread

STAGES = ("rollout", "update", "sync")  # one after the other; the rewards run beside the rollout
PHASES = ("load", "wake", "run", "sleep", "write")
OWN = ("run", "write")
WORDS = ["one", "two", "three", "press", "the", "number", "is", "please", "call", "again", "later", "goodbye"]


def measure_all(quick: bool) -> Result:
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="steps-") as folder:
        return compare(Path(folder), (2, 2), 8, 24, tiny=True) if quick else compare(Path(folder), (4, 10), 32, 64)


def compare(folder: Path, steps: tuple[int, int], utterances: int, tokens: int, tiny: bool = False) -> Result:
    """A cold and a warm run of so many steps, from copies of one start."""
    start = make_start(folder / "start", utterances, tiny)
    runs = {}
    for kind, n in zip(("cold", "warm"), steps, strict=True):
        run = folder / kind
        shutil.copytree(start, run)
        loop(run, n, tokens, [] if kind == "warm" else ["WARM="])
        runs[kind] = read_run(run, n)
    same = [read_version(folder / kind, min(steps)) for kind in runs]
    speedup = {side: runs["cold"][side]["median"] / runs["warm"][side]["median"] for side in ("step_s", "overhead_s")}
    result: Result = {**runs, "speedup": speedup, "same_policy": same[0] == same[1], "targets": []}
    if not tiny:
        share = runs["warm"]["share"]["median"]
        result["targets"] = [
            target("d: switching and sync, share of a warm step", share, 0.05, at_least=False),
            target("d: cold over warm, whole step", speedup["step_s"], 5.0),
            target("d: cold and warm give the same policy", float(result["same_policy"]), 1.0),
        ]
    return result


def make_start(run: Path, utterances: int, tiny: bool) -> Path:
    """A run folder as it is after the data and the policy were made: one training shard per step of a cycle of two."""
    import numpy as np

    from arl.audio.io import encode_flac
    from arl.shards import columns
    from arl.shards.writer import ShardWriter

    rng = np.random.default_rng(0)
    for split, shards, n in (("train", 2, utterances), ("test", 1, 4)):
        for shard in range(shards):
            with ShardWriter(run / "data" / split / f"{shard:06d}.tar") as writer:
                for index in range(n):
                    seconds = rng.uniform(0.3, 0.8) if tiny else rng.uniform(2, 9)
                    wave = (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)
                    text = " ".join(rng.choice(WORDS, size=max(1, int(2 * seconds))))
                    meta = {"text": text, "lang": "en", "duration_s": seconds}
                    members = {"flac": encode_flac(wave, 16_000), columns.META: columns.dumps(meta)}
                    writer.write(f"{split}-{shard}-{index}", members)
    make_recogniser(run / "policy", "64x2" if tiny else "256x4", width=32 if tiny else 384)
    (run / "data" / "data.done").touch()
    return run


def make_recogniser(folder: Path, llm: str, width: int) -> None:
    """A random policy of family whisper-qwen2; `width` 384 is Whisper tiny's."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from arl.models.whisper_qwen2 import build
    from arl.models.whisper_qwen2.frontend import Frontend, Projector
    from arl.runtime.device import quiet_transformers

    quiet_transformers()
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=width, encoder_layers=4, encoder_attention_heads=max(2, width // 64), encoder_ffn_dim=4 * width,
        num_mel_bins=80, max_source_positions=1500, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=width,
    )  # fmt: skip
    model, tokenizer, ids = build.new_llm(llm, 0)
    frontend = Frontend(WhisperEncoder(config), Projector(width, model.config.hidden_size, len(build.CHARACTERS)))
    build.write(folder, frontend, model, tokenizer, {**ids, "tower": "random", "step": 0})


def loop(run: Path, steps: int, tokens: int, extra: list[str]) -> None:
    """`make loop`; RuntimeError with the end of its output when it fails. Engine and workers are stopped either way."""
    values = [f"RUN={run}", f"TEST={run}/data/test", f"STEPS={steps}", "GROUP=12", f"MAX_NEW_TOKENS={tokens}"]
    values += ["UPDATE=--loss dapo --lr 1e-4", "EVAL_EVERY=1000", *extra]  # no schedule: the runs differ in length
    hidden = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # this may run below another make
    threads = ("ARL_THREADS", "OMP_NUM_THREADS")
    kept = {k: v for k, v in os.environ.items() if k in threads or not (k in hidden or k.startswith("ARL_"))}
    with (run / "make.log").open("w") as log:
        code = subprocess.run(["make", "loop", *values], stdout=log, stderr=log, env=kept).returncode
    if code:
        end = "\n".join((run / "make.log").read_text().splitlines()[-15:])
        subprocess.run(["arl", "engine", "stop", "--engine", str(run / "engine")], env=kept, check=False)
        subprocess.run(["arl", "warm", "stop", "--warm", str(run / "warm")], env=kept, check=False)
        raise RuntimeError(f"make loop failed in the {run.name} run:\n{end}")


def read_run(run: Path, steps: int) -> Result:
    """Medians over the steps of a run but its first: by stage and phase, whole steps, switching."""
    from arl.shards.record import read_record

    rows, step_s, share, overhead = [], [], [], []
    for step in range(2, steps + 1):
        folder, before = run / f"step-{step:06d}", run / f"step-{step - 1:06d}"
        seconds = {stage: read_record(folder / stage)[-1]["seconds"] for stage in STAGES}
        whole = (folder / "loop.done").stat().st_mtime - (before / "loop.done").stat().st_mtime
        own = sum(seconds[stage][phase] for stage in ("rollout", "update") for phase in OWN)
        rows.append(seconds)
        step_s.append(whole)
        share.append(1 - own / whole)
        overhead.append(whole - own)
    by_stage = {
        stage: {phase: measure.spread([row[stage].get(phase, 0.0) for row in rows])["median"] for phase in PHASES}
        for stage in STAGES
    }
    spreads = {"step_s": step_s, "share": share, "overhead_s": overhead}
    return {"stages": by_stage, "steps": steps - 1, **{name: measure.spread(v) for name, v in spreads.items()}}


def read_version(run: Path, step: int) -> str:
    """The version of the policy that a step has made: from its own record of the sync, as old policies are removed."""
    lines = (run / f"step-{step:06d}" / "sync" / "stage.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["policy"]


def page(result: Result) -> str:
    parts = ["## d: the step, cold and warm", __doc__.split("\n\n")[2].strip()]
    for kind in ("cold", "warm"):
        run: dict[str, Any] = result[kind]
        rows = [
            [stage, *(number(seconds[phase]) for phase in PHASES), number(sum(seconds.values()))]
            for stage, seconds in ((stage, run["stages"][stage]) for stage in STAGES)
        ]
        recorded = sum(sum(stage.values()) for stage in run["stages"].values())
        rows.append(["between", "", "", "", "", "", number(run["step_s"]["median"] - recorded)])
        whole = with_spread(run["step_s"], " s")
        percent = {name: 100 * value if name != "n" else value for name, value in run["share"].items()}
        parts += [
            f"{kind}: a step takes {whole}, {run['steps']} steps; switching {with_spread(percent, ' %')}.",
            table([f"{kind}, s", *PHASES, "sum"], rows),
        ]
    speedup = result["speedup"]
    same = "the same policy, bit for bit" if result["same_policy"] else "DIFFERENT policies"
    step, overhead = number(speedup["step_s"]), number(speedup["overhead_s"])
    parts.append(f"Cold over warm: {step}x for the step, {overhead}x for what is not the stages' own work. "
                 f"Both give {same}.")  # fmt: skip
    return "\n\n".join(parts)


if __name__ == "__main__":
    main(measure_all, page, threads=0)
