"""A run of version 0.1 loads and goes on with today's code: its policies, records, shards, stamps and evaluation.

old_run.tar.xz is a run folder of commit df5c5f0, stopped after the reward stage of its second step:

    make RUN/step-000002/reward.done WARM= STEPS=3 GROUP=3 MAX_NEW_TOKENS=12 LR=1e-2 EVAL_EVERY=2

on what `make_run` of tests/loop/runs.py makes, with its first three texts and a smaller policy: a Qwen2 of one layer,
32 wide, and a Whisper encoder, 16 wide, with weights rounded to multiples of 1/16 and 1/64 (they compress well). It was
packed by `tar --format=pax -cJ`, so the times of the stamps are in it, without the engine's folder. Continued by its
own code it made the policies 000002-f1a8c2391715 and 000003-d75d6b43f081 on a processor with AVX-512.
"""

import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.policy import Policy
from arl.shards.record import read_record
from tests.examples.tables import planned, stop_all
from tests.loop.runs import log_of, make_loop

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def arl(*words: str | Path) -> str:
    """stdout of an `arl` command."""
    done = CliRunner().invoke(make_app(), list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_its_policies_records_and_shards_read(run: Path) -> None:
    for folder in (run / "policy", run / "step-000001/policy"):
        Policy.open(folder).verify()
    assert [len(read_record(run / "step-000002" / stage)) for stage in ("rollout", "reward")] == [1, 1]
    (row,) = map(json.loads, arl("report", "--run", run, "--json").splitlines())
    assert row["step"] == 1 and {"reward", "sample_wer", "kl", "length"} <= set(row)
    assert int(arl("report", "--run", run, "--step", "2", "--groups")) in range(4)
    step = run / "step-000002"
    arl("check", run / "emb/train/000001.tar", "--join", step / "rollout", "--join", step / "reward")


def test_only_what_is_left_is_planned(run: Path) -> None:
    commands = planned("loop", f"RUN={run}", f"TEST={run}/data/test", "STEPS=3", "EVAL_EVERY=2")
    assert "arl encode" not in commands and "-o " + str(run / "eval/000000") not in commands
    assert commands.count("arl rollout") == 1 and commands.count("arl update") == 2  # of step 3; of steps 2 and 3


def test_its_update_is_recognised_and_the_next_one_is_made(run: Path) -> None:
    first = run / "step-000001/policy"
    written = (first / "arl.json").stat().st_ino
    assert update(run, 1, run / "policy").step == 1
    assert (first / "arl.json").stat().st_ino == written  # the fingerprint is that of version 0.1
    second = update(run, 2, first)
    second.verify()
    assert second.step == 2 and read_record(second.path)[0]["policy"] == Policy.open(first).version


def update(run: Path, number: int, policy: Path) -> Policy:
    """The update of a step as that run's loop makes it."""
    step = run / f"step-{number:06d}"
    name = (step / "shards").read_text().strip()
    shards = [run / f"emb/train/{name}.tar", step / "rollout", step / "reward"]
    flags = ["--loss", "dapo", "--lr", "1e-2", "--schedule", "cosine", "--total-steps", "3", "--warmup", "3"]
    flags += ["--policy", policy, "--reference", run / "policy", "-o", step / "policy"]
    inputs = [word for path in shards for word in ("--shards", path)]
    arl("update", *inputs, *flags, "--device", "cpu", "--threads", "1")
    return Policy.open(step / "policy")


@pytest.mark.engine
def test_it_goes_on(run: Path) -> None:
    """Step 2 trains on the rollouts that are there, from the optimizer's state of step 1; step 3 is all new."""
    rollouts = run / "step-000002/rollout/000001.tar"
    before = rollouts.stat().st_mtime_ns, rollouts.read_bytes()
    try:
        assert make_loop(run, "update", "STEPS=3").wait() == 0, log_of(run)
    finally:
        stop_all(run)
    assert (rollouts.stat().st_mtime_ns, rollouts.read_bytes()) == before
    steps = list(map(json.loads, arl("report", "--run", run, "--json").splitlines()))
    assert [row["step"] for row in steps] == [1, 2, 3]
    Policy.open(run / "step-000003/policy").verify()
    assert json.loads((run / "step-000003/policy/state/state.json").read_text())["updates"] == 3
    assert "WER" in arl("eval", "--compare", run / "eval/000000", run / "eval/final")
