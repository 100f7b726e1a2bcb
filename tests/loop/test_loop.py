"""The Makefile's loop with real stages and a real engine, cold and undisturbed, and warm and killed at many moments."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.engine import server
from arl.policy import Policy
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm import start
from arl.shards import columns
from arl.shards.record import read_record
from arl.shards.writer import ShardWriter
from tests.examples.tables import stop_all
from tests.tiny_asr import make_tiny_asr_policy

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["one two", "press three", "goodbye", "the number is four"]
STEPS = int(os.environ.get("ARL_TEST_STEPS", "3"))  # with ARL_TEST_KILLS, for a longer trial by hand
KILLS = int(os.environ.get("ARL_TEST_KILLS", "3"))

pytestmark = pytest.mark.engine


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


def stage_processes(make: subprocess.Popen) -> list[int]:
    """The `arl` processes below `make`, not the engine (which has a session of its own)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it ended while we looked
                continue
            if int(fields[3]) == make.pid and any(word.endswith(b"/arl") for word in words[:3]):
                found.append(int(entry.name))
    return found


def victims(run: Path, make: subprocess.Popen) -> dict[str, list[int]]:
    """What could be killed now: the stages' processes, their resident workers, the engine."""
    workers = [start.read_worker(str(run / "warm"), stage) for stage in CAN_BE_WARM]
    engine = server.status(run / "engine")
    found = {
        "stage": stage_processes(make),
        "worker": [worker["pid"] for worker in workers if worker],
        "engine": [engine.pid] if engine else [],
    }
    return {kind: pids for kind, pids in found.items() if pids}


def disturb(run: Path, kills: int, rng: random.Random) -> list[str]:
    """Runs the loop to its end, killing something with SIGKILL at `kills` random moments; what was hit."""
    hit: list[str] = []
    while True:
        make = make_loop(run)
        deadline = time.monotonic() + rng.uniform(1.0, 12.0)
        while make.poll() is None:
            if len(hit) < kills and time.monotonic() > deadline and (found := victims(run, make)):
                kind = rng.choice(sorted(found))
                os.kill(rng.choice(found[kind]), signal.SIGKILL)
                hit.append(kind)
                deadline = time.monotonic() + rng.uniform(1.0, 12.0)  # a replaced worker lets the loop go on
            time.sleep(0.02)
        if make.returncode == 0:
            return hit
        assert hit, (run / "make.log").read_text()[-3000:]


def test_the_loop_runs_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Cold and undisturbed against warm and killed at random moments: stages, workers, the engine."""
    calm, rough = make_run(tmp_path / "calm"), make_run(tmp_path / "rough")
    hit: list[str] = []
    try:
        assert make_loop(calm, warm="").wait() == 0, (calm / "make.log").read_text()[-3000:]
        hit = disturb(rough, KILLS, random.Random(5))
        assert len(hit) >= min(3, KILLS), hit
    finally:
        print(f"killed: {hit}")
        for run in (calm, rough):
            stop_all(run)
    final = f"step-{STEPS:06d}/policy"
    assert Policy.open(calm / final).version == Policy.open(rough / final).version
    Policy.open(rough / final).verify()
    assert Policy.open(calm / final).version != Policy.open(calm / "policy").version

    log = (calm / "make.log").read_text()
    assert log.count("step    ") >= STEPS and "WER" in log
    assert (calm / "eval" / "final" / "summary.json").is_file()
    encoded = read_record(calm / "emb" / "train")
    assert len(encoded) == 2  # once, although two steps used the first shard
    rollout = read_record(calm / "step-000001" / "rollout")[0]
    assert rollout["prefilled_tokens"] < 1.5 * rollout["prompt_tokens"]  # not once per hypothesis
    assert server.status(calm / "engine") is None


def test_dynamic_sampling_takes_shards_until_enough_groups_have_spread(tmp_path: Path) -> None:
    """4 utterances a shard: 1 group with spread needs one, 5 need both; a step cut short makes the same batch again."""
    run = make_run(tmp_path / "run")
    first, second = run / "step-000001", run / "step-000002"

    def make(step: Path, spread: int) -> None:
        process = make_loop(run, "", "DYNAMIC=2", f"SPREAD={spread}", target=f"{step}/update.done")
        assert process.wait() == 0, (run / "make.log").read_text()[-3000:]

    try:
        make(first, spread=1)
        assert (first / "shards").read_text().split() == ["000000"] and (first / "next").read_text() == "1\n"
        assert read_record(first / "update")[0]["groups"] == 1
        make(second, spread=5)
        assert (second / "shards").read_text().split() == ["000001", "000000"]  # the next, and round again
        record, scored = read_record(second / "update")[0], read_record(second / "reward")
        spread = sum(line["groups"] - line["zero_spread"] for line in scored)
        assert len(scored) == 2 and record["groups"] == min(5, spread) and record["left_out"] == 8 - record["groups"]

        version = Policy.open(second / "policy").version
        for name in ("reward.done", "update.done", "rollout/000000.tar", "reward/000000.tar"):
            (second / name).unlink()
        shutil.rmtree(second / "policy")
        make(second, spread=5)
        assert Policy.open(second / "policy").version == version
    finally:
        server.stop(run / "engine")


def arl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ARL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("ARL_ENGINE", None)
    command = [str(Path(sys.executable).with_name("arl")), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_the_stages_by_hand(tmp_path: Path) -> None:
    """The README's sequence with its defaults; a stale engine and stale rollouts are refused."""
    run = make_run(tmp_path / "run")
    try:
        assert arl(run, "encode", "--shards", "data/train", "--policy", "policy", "-o", "emb").returncode == 0
        done = arl(run, "rollout", "--shards", "emb/", "--group", "12", "--max-new-tokens", "8")
        assert done.returncode == 0, done.stderr
        assert arl(run, "reward", "--shards", "rollout/", "--with", "wer").returncode == 0
        update = ["update", "--shards", "emb/", "--shards", "rollout/", "--shards", "reward/", "--lr", "1e-2"]
        done = arl(run, *update, "--policy", "policy", "-o", "next")
        assert done.returncode == 0, done.stderr

        before = greedy(run, "policy", "eval-0")
        stale = arl(run, "eval", "--shards", "emb/", "--policy", "next")
        assert stale.returncode == 1 and "run: arl sync --policy next" in stale.stderr
        assert arl(run, "sync", "--policy", "next").returncode == 0
        after = greedy(run, "next", "eval-1")
        assert after != before
        check_sets_and_comparison(run, after)
        stale = arl(run, *update, "--policy", "next", "--reference", "policy", "-o", "later")
        assert stale.returncode == 1 and "roll out again" in stale.stderr and len(stale.stderr.splitlines()) == 1

        (run / "next" / "llm" / "model.safetensors").write_bytes(b"half a file")
        broken = arl(run, "sync", "--policy", "next")
        assert broken.returncode == 1 and "half-copied" in broken.stderr
    finally:
        server.stop(run / ".arl" / "engine")


def check_sets_and_comparison(run: Path, hypotheses: list[str]) -> None:
    """Two sets in one session give what one set gave; two finished evaluations compare without the engine."""
    sets = ["--set", "one=emb/000000.tar", "--set", "two=emb/000001.tar", "--max-new-tokens", "12"]
    done = arl(run, "eval", *sets, "--policy", "next", "-o", "eval-2", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [summary["sets"][name]["utterances"] for name in ("one", "two")] == [len(TEXTS)] * 2
    assert {name: summary[name] for name in ("wer", "wer_low", "keyword_f1", "hallucination_rate")} == {
        name: json.loads((run / "eval-1" / "summary.json").read_text())[name]
        for name in ("wer", "wer_low", "keyword_f1", "hallucination_rate")
    }
    assert summary["rtf"] > 0 and summary["policy"] == Policy.open(run / "next").version
    rows = [json.loads(line) for line in (run / "eval-2" / "utterances.jsonl").read_text().splitlines()]
    assert [row["hypothesis"] for row in rows] == hypotheses
    assert [row["set"] for row in rows] == ["one"] * len(TEXTS) + ["two"] * len(TEXTS)
    done = arl(run, "eval", "--compare", "eval-0", "eval-1", "--top", "1")
    assert done.returncode == 0 and "A: eval-0" in done.stdout and "REF" in done.stdout, done.stderr


def greedy(run: Path, policy: str, out: str) -> list[str]:
    done = arl(run, "eval", "--shards", "emb/", "--policy", policy, "--max-new-tokens", "12", "-o", out)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["hypothesis"] for line in (run / out / "utterances.jsonl").read_text().splitlines()]
