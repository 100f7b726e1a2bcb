"""The device lease between processes."""

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.runtime import lease
from arl.runtime.lease import device_lease, lease_files, read_lease

HOLD = """
import sys
from arl.runtime.lease import device_lease
with device_lease("update", "cpu") as waited_s:
    print(f"{waited_s:.3f}", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "warm"
    path.mkdir()
    monkeypatch.setenv("ARL_WARM", str(path))
    return path


def hold() -> subprocess.Popen:
    """A process that takes the lease, and gives it back at a line on its stdin."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_one_holder_at_a_time(folder: Path) -> None:
    first = hold()
    assert first.stdout is not None and first.stdout.readline() == "0.000\n"
    said = read_lease(str(folder))
    assert (said["holder"], said["pid"], said["waiting"]) == ("update", first.pid, 0)
    second = hold()
    assert second.stderr is not None and f"which update (pid {first.pid}) has" in second.stderr.readline()
    assert read_lease(str(folder))["waiting"] == 1
    first.communicate("\n", timeout=20)
    assert second.stdout is not None and float(second.stdout.readline()) > 0
    said = read_lease(str(folder))
    assert (said["pid"], said["waiting"]) == (second.pid, 0) and said["waited_s"] > 0
    second.communicate("\n", timeout=20)
    assert read_lease(str(folder))["holder"] is None


def test_nobody_is_waited_for_on_a_slow_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(step=0.1)
    monkeypatch.setattr("arl.runtime.lease.time.monotonic", lambda: next(ticks))
    with device_lease("update", "cpu") as waited_s:
        assert waited_s == 0


def test_a_killed_holder_frees_the_device(folder: Path) -> None:
    first = hold()
    assert first.stdout is not None and first.stdout.readline()
    first.kill()
    first.wait()
    assert json.loads((folder / "lease").read_text())["holder"] == "update"
    assert read_lease(str(folder))["holder"] is None
    with device_lease("encode", "cpu") as waited_s:
        assert waited_s < 1 and read_lease(str(folder))["holder"] == "encode"
        with device_lease("encode", "cpu") as again:
            assert again == 0.0
        assert read_lease(str(folder))["holder"] == "encode"
    assert read_lease(str(folder))["holder"] is None


def test_without_a_warm_folder_a_cpu_has_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARL_WARM", str(tmp_path / "nowhere"))
    with device_lease("update", "cpu"):
        assert not (tmp_path / "nowhere").exists()


def test_a_gpu_stage_puts_the_engine_to_sleep_and_waits_for_its_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of calls only: the machine of this test has no GPU."""
    slept = []
    with device_lease("rollout", "cuda"):
        assert slept == []
    with device_lease("update", "cuda:1", slept.append):
        assert slept == ["cuda:1"]


def test_gpus_of_one_node_and_of_several_are_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the GPU's own number, whatever a process calls it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    node = os.uname().nodename
    assert lease_files("cuda:1", 2) == [f"lease-{node}-gpu1", f"lease-{node}-gpu2"]
    with device_lease("engine", "cuda", count=2), device_lease("update", "cuda:2") as waited_s:
        assert waited_s < 1
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,1")
        assert lease_files("cuda:1") == [f"lease-{node}-gpu1"]
        said = read_lease(str(folder))
        assert (said["holder"], said["pid"]) == ("engine", os.getpid())
    assert read_lease(str(folder))["holder"] is None


def test_a_file_system_without_locks_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lease.fcntl, "flock", refuse)
    with pytest.raises(ArlError, match="no locks .*ARL_WARM"), device_lease("update", "cuda"):
        pytest.fail("it ran without the device")
