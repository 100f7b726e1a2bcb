"""Shards shared out among processes: by torchrun, srun, ARL_PART or `--gpus`; each is made once."""

import subprocess
import sys
from pathlib import Path

import pytest

from arl.data.mining.mine_stage import Request, make_sets
from arl.errors import ArlError, UsageError
from arl.runtime import fan_out
from arl.runtime.ranks import launched, local_rank, n_local_ranks, n_ranks, part, rank
from arl.runtime.stage import StageRun
from arl.shards.paths import joined_shards
from arl.shards.record import read_record
from arl.shards.writer import write_shard
from arl.train.update import joined
from tests.rewards.reward_runs import rollouts_with_references

SETTERS = ("ARL_PART", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS",
           "SLURM_STEP_ID", "SLURM_LOCALID")  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTERS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, (3, 8)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (0, 1)),  # a pod's: torchrun would set LOCAL_RANK
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0"}, (1, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),  # a batch script's own
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "ARL_PART": "0/2"}, (0, 2)),
    ],
)
def test_who_says_which_part(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: tuple[int, int]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert part() == wanted


def test_an_update_is_shared_by_the_processes_of_torchrun_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's WORLD_SIZE alone counted: `arl update` waited there for processes that nobody had started."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (rank(), n_ranks(), local_rank(), n_local_ranks(), launched()) == (0, 1, None, 1, (0, 1))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert (rank(), n_ranks(), local_rank(), n_local_ranks(), launched()) == (3, 8, 1, 2, (3, 8))


def test_an_update_of_processes_that_nothing_joins_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them would write the whole policy."""
    for name, value in {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert (n_ranks(), launched()) == (1, (1, 4))
    with pytest.raises(UsageError, match="srun has started 4 processes"), joined("cpu", 1):
        pass


@pytest.mark.parametrize("given", ["2/2", "1", "-1/2", "a/b", ""])
def test_a_part_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ARL_PART", given)
    with pytest.raises(UsageError, match=r"write k/n with k from 0"):
        part()


def test_each_shard_is_made_once_and_the_last_part_says_that_all_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for shard in range(5):
        write_shard(tmp_path / "data" / f"{shard:06d}.tar", [(f"utt-{shard}", {"json": b"{}"})])
    made, said = [], []
    for index in (1, 0):
        monkeypatch.setenv("ARL_PART", f"{index}/2")
        run = StageRun("copy", tmp_path / "copy", {}, sources=[tmp_path / "data"])
        for name, inputs in run.pending(joined_shards([str(tmp_path / "data")])):
            with run.shard(name, inputs) as shard:
                shard.write(name, {"json": b"[]"})
            made.append(name)
        run.finish()
        said.append(capsys.readouterr().err)
    assert made == ["000001", "000003", "000000", "000002", "000004"]
    assert "part 1/2 is done; 3 of 5 missing: 000000 000002 000004" in said[0]
    assert "part 0/2 is done; all 5 shard(s) are there" in said[1]
    assert [line["shard"] for line in read_record(tmp_path / "copy")] == sorted(made)


def test_mining_is_not_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processes would each choose from the whole, into one folder."""
    monkeypatch.setenv("ARL_PART", "0/8")
    with pytest.raises(UsageError, match="in one process"):
        make_sets(["data"], None, Request(sets="D0", size="1"))


def test_gpus_starts_the_command_once_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Here on the CPU: the processes share its cores."""
    rollouts = rollouts_with_references(tmp_path)
    words = ["reward", "--shards", str(rollouts), "--with", "wer", "--gpus", "2", "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["arl", *words])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(fan_out, "resolve_device", lambda device: "cpu")
    assert fan_out.over_gpus(2)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["000000.tar", "000001.tar"]
    assert len((tmp_path / "out" / "stage.jsonl").read_text().splitlines()) == 2
    assert "2 processes have made their parts" in capsys.readouterr().err


def test_gpus_gives_each_process_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which part has failed."""
    started: list[dict[str, str]] = []

    def start(command: list[str], env: dict[str, str]) -> subprocess.Popen:
        started.append(env)
        return process([sys.executable, "-c", f"raise SystemExit({len(started) - 1})"])

    process = subprocess.Popen
    monkeypatch.setattr(fan_out.subprocess, "Popen", start)
    monkeypatch.setattr(fan_out, "resolve_device", lambda device: "cuda")
    monkeypatch.setattr(fan_out, "cuda_devices", lambda: 2)
    monkeypatch.setattr(sys, "argv", ["arl", "encode", "--gpus", "2"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    with pytest.raises(ArlError, match="part 1/2 failed"):
        fan_out.over_gpus(2)
    assert [(env["ARL_PART"], env["CUDA_VISIBLE_DEVICES"]) for env in started] == [("0/2", "6"), ("1/2", "7")]
    for count, device, argv, says in (
        (3, "auto", [], "has 2 usable"),
        (2, "cuda:1", [], "the first 2 GPUs"),
        (2, "auto", ["--shards", "-"], "standard input"),
    ):
        monkeypatch.setattr(sys, "argv", ["arl", "encode", *argv])
        with pytest.raises(UsageError, match=says):
            fan_out.over_gpus(count, device)
    assert not fan_out.over_gpus(1)
    monkeypatch.setenv("ARL_PART", "0/2")
    assert not fan_out.over_gpus(2), "a process that was started so starts no others"
