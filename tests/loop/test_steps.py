"""The loop under make, with an `arl` that only notes what it was asked: order, shards, kills, parallel makes."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.examples.tables import ROOT

ARL = r"""#!/usr/bin/env bash
set -eu
for ((i = 1; i < $#; i++)); do [[ ${!i} != -o ]] || { next=$((i + 1)); out=${!next}; mkdir -p "$out"; }; done
echo "$*" >> "$ARL_LOG"
sleep "${ARL_SLEEP:-0}"
case $1 in
  init) touch "$out/arl.json" ;;
  encode) touch "$out"/00000{0,1,2}.tar ;;
  update) echo '{}' > "$out/stage.jsonl" ;;
  eval) touch "$out/summary.json" ;;
  report) [[ $* != *--groups* ]] || echo 3 ;;
esac
"""


class Place:
    """A run folder with data, and an environment whose `arl` is the one above."""

    def __init__(self, folder: Path) -> None:
        self.run, self.log = folder / "run", folder / "log"
        program = folder / "venv" / "bin" / "arl"
        program.parent.mkdir(parents=True)
        program.write_text(ARL)
        program.chmod(0o755)
        (folder / "venv" / "arl.done").touch()
        (self.run / "data").mkdir(parents=True)
        (self.run / "data" / "data.done").touch()

    def start(self, *words: str, sleep: float = 0.0) -> subprocess.Popen:
        values = [f"VENV={self.log.parent}/venv", f"RUN={self.run}", "WARM=", "EVAL_EVERY=2"]
        hidden = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"ARL_LOG": str(self.log), "ARL_SLEEP": str(sleep)}
        command = ["make", *(words or ["loop"]), *values]
        output = (self.log.parent / "output").open("a")
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def make(self, *words: str) -> None:
        assert self.start(*words).wait() == 0, self.output()

    def output(self) -> str:
        return (self.log.parent / "output").read_text()

    def asked(self, stage: str) -> list[str]:
        """The steps of which `arl STAGE` was asked, in order."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith(f"{stage} ")]
        return [found[-1] for line in lines if (found := re.findall(r"-o \S*/step-0*(\d+)/", line))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_steps_run_in_order_also_in_parallel_makes(place: Place, tmp_path: Path) -> None:
    place.make("loop", "STEPS=3")
    other = Place(tmp_path / "other")
    other.make("-j4", "loop", "STEPS=3")
    assert place.asked("update") == place.asked("sync") == ["1", "2", "3"]
    # A reward is asked for beside its rollout: either may come first.
    lines = [line for line in place.log.read_text().splitlines() if not line.startswith("reward ")]
    others = other.log.read_text().replace(str(tmp_path / "other"), str(tmp_path)).splitlines()
    assert [line for line in others if not line.startswith("reward ")] == lines
    assert other.asked("reward") == place.asked("reward") == ["1", "2", "3"]


def test_a_finished_run_goes_on_and_a_kept_stamp_is_not_made_again(place: Place) -> None:
    place.make("loop", "STEPS=2")
    (place.run / "step-000002" / "loop.done").unlink()
    (place.run / "step-000002" / "sync.done").unlink()
    place.make("loop", "STEPS=4")
    assert place.asked("update") == ["1", "2", "3", "4"] and place.asked("sync") == ["1", "2", "2", "3", "4"]
    policies = sorted(path.parent.name for path in place.run.glob("step-*/policy"))
    assert policies == ["step-000004"] and (place.run / "policy").is_dir()  # the first and the last are kept
    place.make("loop", "STEPS=6", "POLICIES=2")
    policies = sorted(path.parent.name for path in place.run.glob("step-*/policy"))
    assert policies == ["step-000005", "step-000006"]


def test_shards_come_in_turn_from_where_the_step_before_stopped(place: Place) -> None:
    (place.run / "next").write_text("2\n")
    place.make("loop", "STEPS=2")
    place.make("loop", "STEPS=4", "DYNAMIC=2", "SPREAD=4")  # each shard has 3 groups: two shards
    shards = [(place.run / f"step-{step:06d}" / "shards").read_text().split() for step in (1, 2, 3, 4)]
    assert shards == [["000002"], ["000000"], ["000001", "000002"], ["000000", "000001"]]
    assert (place.run / "step-000004" / "next").read_text() == "8\n"
    place.make("loop", "STEPS=5", "DYNAMIC=2", "SPREAD=3")
    assert (place.run / "step-000005" / "shards").read_text().split() == ["000002"]
    updates = [line for line in place.log.read_text().splitlines() if line.startswith("update ")]
    assert "train/{000001,000002}.tar" in updates[2] and "train/000002.tar" in updates[4]


def test_a_loop_waits_for_the_stage_of_one_that_was_killed(place: Place) -> None:
    """kill -9 of make leaves its step at work; nothing is done twice, and only that step is ended behind its back."""
    first = place.start("loop", "STEPS=3", sleep=0.4)
    while not place.log.exists() or "update" not in place.log.read_text():
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    second = place.start("loop", "STEPS=3")
    assert second.wait() == 0, place.output()
    assert first.wait() == -signal.SIGKILL
    assert place.asked("update") == place.asked("sync") == ["1", "2", "3"]
    assert "waits for another loop that still works there" in place.output() and "make was killed" in place.output()


def test_a_failing_stage_ends_the_loop_and_no_step_is_none(place: Place) -> None:
    (place.run / "emb").mkdir()
    (place.run / "encode.done").touch()
    (place.run / "policy").mkdir()
    (place.run / "policy" / "arl.json").touch()
    os.utime(place.run / "encode.done", (4e9, 4e9))
    assert place.start("loop", "STEPS=2").wait() == 2 and "emb/train: no shards there" in place.output()
    assert place.start("loop", "STEPS=0").wait() == 2 and "steps count from 1; give STEPS" in place.output()
