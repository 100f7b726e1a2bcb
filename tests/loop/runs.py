"""Small runs of `make loop`: their folders, how they are made and gone on with.

run = make_run(tmp_path / "run")
assert make_loop(run, "", "KEEP=1").wait() == 0     # cold; the engine goes on
again = begun(run, tmp_path / "again")              # as it was before its first step
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from arl.audio.io import encode_flac
from arl.shards import columns
from arl.shards.writer import ShardWriter
from tests.tiny_asr import make_tiny_asr_policy

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["one two", "press three", "goodbye", "the number is four"]
STEPS = int(os.environ.get("ARL_TEST_STEPS", "3"))  # with ARL_TEST_KILLS, for a longer trial by hand
BEGUN = "data", "policy", "emb", "encode.done", "eval/000000"  # what a run has before its first step


def make_run(folder: Path) -> Path:
    """A run folder as `make loop` would have it after `arl data` and `arl init`: 2 training shards, 1 test shard."""
    rng = np.random.default_rng(0)
    for split, shards in (("train", 2), ("test", 1)):
        (folder / "data" / split).mkdir(parents=True)
        for shard in range(shards):
            with ShardWriter(folder / "data" / split / f"{shard:06d}.tar") as writer:
                for index, text in enumerate(TEXTS):
                    wave = (0.1 * rng.standard_normal(4000 + 1600 * index)).astype(np.float32)
                    meta = {"text": text, "lang": "en", "duration_s": len(wave) / 16000}
                    members = {"flac": encode_flac(wave, 16000), columns.META: columns.dumps(meta)}
                    writer.write(f"{split}-{shard}-{index}", members)
    make_tiny_asr_policy(folder / "policy")
    (folder / "data" / "data.done").touch()
    return folder


def begun(run: Path, folder: Path, *more: str) -> Path:
    """A copy of a run as it was before its first step. more: what else is copied of it."""
    for name in (*BEGUN, *more):
        source, target = run / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    return folder


def make_loop(
    run: Path, warm: str = "rollout reward update sync report", *more: str, target: str = "loop"
) -> subprocess.Popen:
    """more: further variables of make."""
    values = [
        f"WARM={warm}",
        f"RUN={run}",
        f"TEST={run}/data/test",
        f"STEPS={STEPS}",
        "GROUP=3",
        "MAX_NEW_TOKENS=12",
        "LR=1e-2",
        "EVAL_EVERY=2",
        *more,
    ]
    command = ["make", target, *values]
    environment = {**os.environ, "ARL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    log = (run / "make.log").open("a")
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment, start_new_session=True)


def log_of(run: Path) -> str:
    """The end of what make has said."""
    return (run / "make.log").read_text()[-3000:]
