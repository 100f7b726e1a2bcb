"""What `make loop` would do, by `make -n`: no stage runs."""

import os
import random
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.examples.tables import ROOT, make, planned


def plan(run: Path, *values: str) -> str:
    """The commands of `make loop`; the environment's set-up is taken as done."""
    return planned("loop", f"RUN={run}", *values)


def finish(run: Path, steps: int) -> None:
    """The stamps of a run of so many steps, in the order in which make leaves them."""
    names = ["data/data.done", "policy/arl.json", "encode.done", "eval/000000/summary.json"]
    for step in range(1, steps + 1):
        names += [f"step-{step:06d}/{stage}.done" for stage in ("reward", "update", "sync", "loop")]
    for second, name in enumerate([*names, "eval/final/summary.json"]):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1_700_000_000 + second, 1_700_000_000 + second))


def test_a_new_run_has_every_step_once(tmp_path: Path) -> None:
    commands = plan(tmp_path / "run", "STEPS=3")
    assert commands.count("arl update") == 3 and commands.count("arl encode") == 3  # training, and two tests
    assert commands.index("step-000002/reward.done") < commands.index("step-000003/reward.done")


def test_one_test_set_or_several_with_names(tmp_path: Path) -> None:
    run = tmp_path / "run"
    one = plan(run, "STEPS=1", "ENCODERS=1", "TEST=data/test")
    assert f"arl encode --gpus 1 --shards data/test --policy {run}/policy -o {run}/emb/test;" in one
    assert one.count(f"arl eval --shards {run}/emb/test --policy") == 2
    several = plan(run, "STEPS=1", "ENCODERS=1", "TEST=clean=data/test noisy=data/more/noisy")
    assert f"arl encode --gpus 1 --shards data/test --policy {run}/policy -o {run}/emb/test/clean;" in several
    assert f"arl encode --gpus 1 --shards data/more/noisy --policy {run}/policy -o {run}/emb/test/noisy;" in several
    assert several.count(f"arl eval --set clean={run}/emb/test/clean --set noisy={run}/emb/test/noisy --policy") == 2


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="with a GPU they are GPUS")
def test_processes_of_encode_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the threads that a stage may have, and no more than memory is for."""
    for threads, processes in (("1", 1), ("3", 3), ("64", 4)):
        monkeypatch.setenv("ARL_THREADS", threads)
        assert plan(tmp_path / "run", "STEPS=1").count(f"arl encode --gpus {processes} --shards") == 3
    assert "arl encode --gpus 8 " in plan(tmp_path / "run", "STEPS=1", "ENCODERS=8")


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    commands = plan(tmp_path / "run", "STEPS=2")
    assert "arl update" not in commands and "arl eval" not in commands


def test_a_finished_run_goes_on_with_more_steps(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    commands = plan(tmp_path / "run", "STEPS=4")
    assert commands.count("arl update") == 2 and "step-000002/rollout" not in commands
    assert "-o " + str(tmp_path / "run/eval/final") in commands


def test_a_policy_is_evaluated_once(tmp_path: Path) -> None:
    commands = plan(tmp_path / "run", "STEPS=4", "EVAL_EVERY=2")
    assert commands.count("arl eval ") == 3  # the start, after step 2, after step 4
    assert f"cp -r {tmp_path}/run/eval/000004 {tmp_path}/run/eval/final.part" in commands


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    for name in ("step-000002/sync.done", "step-000002/loop.done", "eval/final/summary.json"):
        (tmp_path / "run" / name).unlink()
    commands = plan(tmp_path / "run", "STEPS=2")
    assert "arl update" not in commands and commands.count("arl sync") == 2  # the engine's first, then the step's


def copy_without_times(run: Path, rng: random.Random) -> None:
    """As `cp -r` leaves a run: every time is that of the copying, in any order."""
    for second, path in enumerate(sorted(run.rglob("*"), key=lambda _: rng.random())):
        os.utime(path, (1_800_000_000 + second, 1_800_000_000 + second))


@pytest.mark.parametrize("seed", range(3))
def test_a_run_copied_without_times_goes_on_where_it_was(tmp_path: Path, seed: int) -> None:
    finish(tmp_path / "run", 2)
    copy_without_times(tmp_path / "run", random.Random(seed))
    commands = plan(tmp_path / "run", "STEPS=2")
    assert "arl update" not in commands and "arl eval" not in commands
    commands = plan(tmp_path / "run", "STEPS=3")
    assert commands.count("arl update") == 1 and "step-000003/rollout" in commands
    for name in ("step-000002/sync.done", "step-000002/loop.done", "eval/final/summary.json"):
        (tmp_path / "run" / name).unlink()
    commands = plan(tmp_path / "run", "STEPS=2")
    assert "arl update" not in commands and "arl rollout" not in commands and commands.count("arl sync") == 2


def test_the_last_evaluation_is_of_the_last_policy(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    policy = tmp_path / "run" / "step-000002" / "policy"
    policy.mkdir()
    (policy / "arl.json").write_text('{\n "step": 2,\n "version": "000002-abc"\n}\n')
    for version, times in (("000002-abc", 0), ("000001-abc", 1)):
        (tmp_path / "run" / "eval" / "final" / "summary.json").write_text(f'{{"policy": "{version}"}}')
        assert plan(tmp_path / "run", "STEPS=2", "EVAL_EVERY=9").count("arl eval ") == times


def test_old_shards_can_be_deleted(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    assert not (tmp_path / "run/step-000001/rollout").exists()  # only the stamps are there
    assert "arl rollout" not in plan(tmp_path / "run", "STEPS=2")


def test_a_long_run_shows_its_next_steps_and_counts_the_rest(tmp_path: Path) -> None:
    finish(tmp_path / "run", 2)
    commands = plan(tmp_path / "run", "STEPS=1500")
    shown = re.findall(r"^: > .*/step-(\d+)/loop.done$", commands, re.MULTILINE)
    assert shown == ["000003", "000004", "000005", "000006"]
    assert f"# ... and 1494 more steps like these, up to {tmp_path}/run/step-001500/loop.done" in commands


def test_make_reads_a_long_loop_at_once(tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        planned("help", f"RUN={tmp_path}", "STEPS=2000")
        return time.perf_counter() - began

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_stamp_of_a_step_is_a_target(tmp_path: Path) -> None:
    finish(tmp_path / "run", 1)
    commands = planned(f"{tmp_path}/run/step-000002/update.done", f"RUN={tmp_path}/run", "STEPS=9", "LORA=8")
    assert commands.count("arl update") == 1 and "--seed 0 --lora-rank 8 --loss" in commands
    assert "arl report" not in commands and "000003" not in commands


def test_dynamic_sampling_and_rewards_that_listen_are_planned(tmp_path: Path) -> None:
    commands = plan(tmp_path / "run", "STEPS=1", "DYNAMIC=4", "SPREAD=24", "DECODE=1", "CONFIG=examples/tts/config.mk")
    assert "emb/train 4 24" in commands and "--gather 24" in commands and "--tee" not in commands
    assert commands.index('arl rollout --shards "$shard"') < commands.index('arl decode --shards "$shard"')
    assert f'--shards "{tmp_path}/run/data/train/$names.tar"' in commands  # combined reads the texts


@pytest.mark.parametrize("family", ["asr", "tts", "cosyvoice2"])
def test_a_stage_that_fails_ends_its_recipe(tmp_path: Path, family: str) -> None:
    """bash -e goes on after a command that fails before the `&&` of a list: an engine that was not stopped, an
    evaluation that was not made."""
    commands = plan(tmp_path / "run", "STEPS=1", "EVAL_EVERY=1", f"CONFIG=examples/{family}/config.mk")
    assert "arl eval" in commands and "arl engine stop; arl warm stop" in commands and "&&" not in commands


def refused(*words: str) -> str:
    """The only line that make says."""
    done = make(*words)
    assert done.returncode == 2
    (line,) = (done.stdout + done.stderr).splitlines()
    return line


def test_what_make_cannot_do_is_refused_in_one_line(tmp_path: Path) -> None:
    for target in ("loop", "clean", "help"):
        assert 'RUN: "my run" has a space' in refused(target, "RUN=my run")
    for name in (*"'\"`;&|<>()*?[]{}\\!%^:#", "$(HOME)"):
        assert "which is no part of a name here" in refused("clean", f"RUN=a{name}b")
    assert "begins like an option" in refused("clean", "RUN=-rf")
    assert "RUN is empty" in refused("clean", "RUN=")
    assert "STEP is missing" in refused("-f", "examples/loop.mk", f"RUN={tmp_path}")


def test_clean_removes_a_run_and_nothing_that_holds_more(tmp_path: Path) -> None:
    place, script = tmp_path / "place", ROOT / "examples" / "loop.sh"
    for name in ("runs/demo", "a b"):
        (place / name).mkdir(parents=True)
    environment = {**os.environ, "HOME": str(place / "runs")}

    def clean(run: str) -> subprocess.CompletedProcess[str]:
        command = [str(script), "clean", run]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)

    for run in (".", "..", "/", str(place), "runs", "runs/demo/.."):
        done = clean(run)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "more than a run" in done.stderr
    assert (place / "runs" / "demo").is_dir()
    for run in ("a b", "runs/demo", "none"):
        assert clean(run).returncode == 0 and not (place / run).exists()


def test_several_gpus_and_nodes_make_the_update_by_torchrun(tmp_path: Path) -> None:
    alone = plan(tmp_path / "run", "STEPS=1")
    assert "torchrun" not in alone and "arl warm start rollout reward update sync report" in alone
    one_node = plan(tmp_path / "run", "STEPS=1", "GPUS=8")
    assert "torchrun --nproc-per-node 8 --rdzv-backend c10d --rdzv-conf store_type=file -m arl update" in one_node
    assert one_node.count("torchrun") == 1 and "arl warm start rollout reward  sync report" in one_node
    two_nodes = plan(tmp_path / "run", "STEPS=1", "GPUS=8", "NODES=2", "HEAD=first")
    assert "srun --nodes 2 --ntasks-per-node 1 torchrun --nproc-per-node 8" in two_nodes
    assert "--nnodes 2 --rdzv-endpoint first --rdzv-id" in two_nodes
    assert "=1 mine arl update" in plan(tmp_path / "run", "STEPS=1", "LAUNCH=mine ")
