"""The Makefile's loop with real stages and a real engine: cold, warm and killed at many moments, by two processes; and
its stages by hand. One engine serves all runs but the killed one."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from arl.engine import server
from arl.policy import Policy
from arl.runtime.stages import CAN_BE_WARM
from arl.runtime.warm import start
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.record import read_record
from tests.examples.tables import stop_all
from tests.in_process import command_line
from tests.loop.runs import STEPS, TEXTS, begun, log_of, make_loop, make_run

KILLS = int(os.environ.get("ARL_TEST_KILLS", "3"))
FINAL = f"step-{STEPS:06d}/policy"
FIRST_ROLLOUTS = tuple(f"step-000001/{name}" for name in ("shards", "next", "rollout", "reward", "reward.done"))

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sequence of examples/README.md up to the rollouts; the engine that `arl rollout` has started goes on."""
    run = make_run(tmp_path_factory.mktemp("by-hand"))
    assert arl(run, "encode", "--shards", "data/train", "--policy", "policy", "-o", "emb").returncode == 0
    try:
        done = arl(run, "rollout", "--shards", "emb/", "--group", "12", "--max-new-tokens", "8")
        assert done.returncode == 0 and "no engine in " in done.stderr, done.stderr
        yield run
    finally:
        server.stop(run / ".arl" / "engine")


@pytest.fixture(scope="module")
def shared(by_hand: Path) -> tuple[str, str]:
    """Variables of make for a run that uses this engine."""
    return f"ENGINE={by_hand}/.arl/engine", "KEEP=1"


@pytest.fixture(scope="module")
def calm(shared: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, cold and undisturbed."""
    run = make_run(tmp_path_factory.mktemp("calm"))
    assert make_loop(run, "", *shared).wait() == 0, log_of(run)
    return run


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
        deadline = time.monotonic() + rng.uniform(0.5, 4.0)
        while make.poll() is None:
            if len(hit) < kills and time.monotonic() > deadline and (found := victims(run, make)):
                kind = rng.choice(sorted(found))
                os.kill(rng.choice(found[kind]), signal.SIGKILL)
                hit.append(kind)
                deadline = time.monotonic() + rng.uniform(0.5, 4.0)  # a replaced worker lets the loop go on
            time.sleep(0.02)
        if make.returncode == 0:
            return hit
        assert hit, log_of(run)


def test_the_loop_runs_and_resumes_to_the_same_bits(calm: Path, tmp_path: Path) -> None:
    """Cold and undisturbed against warm and killed at random moments: stages, workers, the engine."""
    rough = begun(calm, tmp_path / "rough")
    hit: list[str] = []
    try:
        hit = disturb(rough, KILLS, random.Random(5))
        assert len(hit) >= min(3, KILLS), hit
        assert server.status(rough / "engine") is None
        assert not any(start.read_worker(str(rough / "warm"), stage) for stage in CAN_BE_WARM)
    finally:
        print(f"killed: {hit}")
        stop_all(rough)
    assert Policy.open(calm / FINAL).version == Policy.open(rough / FINAL).version
    Policy.open(rough / FINAL).verify()
    assert Policy.open(calm / FINAL).version != Policy.open(calm / "policy").version

    log = (calm / "make.log").read_text()
    assert log.count("step    ") >= STEPS and "WER" in log
    assert (calm / "eval" / "final" / "summary.json").is_file()
    page = (calm / "report.html").read_text()
    assert f"the page of this run: {calm}/report.html" in log and "data:audio/flac" in page
    assert "arl update --shards" in page and "arl eval --shards" in page
    encoded = read_record(calm / "emb" / "train")
    assert len(encoded) == 2  # once, although two steps used the first shard
    rollout = read_record(calm / "step-000002" / "rollout")[0]
    assert rollout["prefilled_tokens"] < 1.5 * rollout["prompt_tokens"]  # not once per hypothesis


def test_two_processes_end_with_the_policy_of_one(calm: Path, shared: tuple[str, str], tmp_path: Path) -> None:
    """`make loop GPUS=2`: torchrun, two processes on a CPU. It begins with the rollouts of the other run's first step,
    which has the same policy and seed."""
    run = begun(calm, tmp_path / "run", *FIRST_ROLLOUTS)
    assert make_loop(run, "", *shared, "GPUS=2").wait() == 0, log_of(run)
    for step in (f"step-{number:06d}" for number in range(1, STEPS + 1)):
        assert read_record(run / step / "update")[0]["ranks"] == 2 and tokens(run / step) == tokens(calm / step)
    start, one, two = (Policy.open(folder) for folder in (run / "policy", calm / FINAL, run / FINAL))
    assert one.version != two.version and two.step == one.step == STEPS
    apart, moved = differences(one, two), differences(start, one)
    print(f"apart {apart.max():.1e}, all but 1 of 1000 weights {apart.quantile(0.999):.1e}; moved {moved.max():.1e}")
    # Adam makes whole steps of gradients that are rounding alone, as that of k_proj.bias is
    assert apart.quantile(0.999) < 1e-3 * moved.max() and apart.max() < moved.max()


def tokens(step: Path) -> list[list[int]]:
    """Those of all hypotheses of a step's rollouts."""
    samples = [sample for shard in sorted((step / "rollout").glob("*.tar")) for sample in read_shard(shard)]
    return [hyp["tokens"] for sample in samples for hyp in sample.json(columns.ROLLOUT)["hyps"]]


def differences(one: Policy, other: Policy) -> torch.Tensor:
    """|Δ| of every weight, in one row."""
    first, second = (load_file(policy.llm_dir / "model.safetensors") for policy in (one, other))
    assert first.keys() == second.keys()
    return torch.cat([(first[name] - second[name]).abs().flatten() for name in first])


def test_dynamic_sampling_takes_shards_until_enough_groups_have_spread(
    calm: Path, shared: tuple[str, str], tmp_path: Path
) -> None:
    """4 utterances a shard: 1 group with spread needs one, 5 need both; a step cut short makes the same batch again."""
    run = begun(calm, tmp_path / "run")
    first, second = run / "step-000001", run / "step-000002"

    def make(step: Path, spread: int) -> None:
        more = [*shared, "DYNAMIC=2", f"SPREAD={spread}"]
        assert make_loop(run, "update", *more, target=f"{step}/update.done").wait() == 0, log_of(run)

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
        stop_all(run)


def arl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """An `arl` command line in a folder, cold, with the engine of the folder."""
    return command_line(folder, *words, ARL_THREADS="1", ARL_WARM="", ARL_ENGINE="")


def test_the_stages_by_hand(by_hand: Path) -> None:
    """The sequence of examples/README.md with its defaults; a stale engine and stale rollouts are refused."""
    run = by_hand
    assert arl(run, "reward", "--shards", "rollout/", "--with", "wer").returncode == 0
    update = ["update", "--shards", "emb/", "--shards", "rollout/", "--shards", "reward/", "--lr", "1e-2"]
    done = arl(run, *update, "--policy", "policy", "-o", "next")
    assert done.returncode == 0, done.stderr

    assert arl(run, "sync", "--policy", "policy").returncode == 0  # other runs may have used the engine
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
