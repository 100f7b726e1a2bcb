"""The device that engine and stages choose: one function, a stub of the driver in place of a GPU."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from arl.engine import flags
from arl.errors import UsageError
from arl.runtime import device


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the machine one with so many GPUs, a driver for this version of CUDA, and a torch built for another."""

    def install(gpus: int, version: int = 13, built_for: int = 13) -> None:
        def answer(value: int) -> Callable[[Any], int]:
            def call(pointer: Any) -> int:
                pointer._obj.value = value
                return 0

            return call

        stub = SimpleNamespace(
            cuInit=lambda _: 0, cuDeviceGetCount=answer(gpus), cuDriverGetVersion=answer(1000 * version)
        )
        monkeypatch.setattr(device.ctypes, "CDLL", lambda _: stub)
        monkeypatch.setattr(device, "torch_cuda", lambda: built_for)
        for name in ("LOCAL_RANK", "SLURM_LOCALID"):
            monkeypatch.delenv(name, raising=False)

    return install


def test_torch_says_what_it_was_built_for() -> None:
    import torch

    assert device.torch_cuda() == int((torch.version.cuda or "0").partition(".")[0])


@pytest.mark.parametrize(("version", "built_for", "found"), [(13, 13, 2), (14, 13, 2), (12, 13, 0), (13, 0, 0)])
def test_a_driver_that_torch_cannot_use_is_none(
    driver: Callable[..., None], version: int, built_for: int, found: int
) -> None:
    """The engine looked at the driver alone, and went to a GPU that the stages could not use."""
    driver(2, version, built_for)
    assert device.cuda_devices() == found
    assert device.resolve_device("auto") == ("cuda" if found else "cpu")


def test_a_rank_takes_its_own_gpu(driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    driver(4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert (device.resolve_device("auto"), device.resolve_device("cuda:1")) == ("cuda:3", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")  # as srun --gpus-per-task=1 does
    driver(1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device.resolve_device("auto") == "cuda:0"
    with pytest.raises(UsageError, match="has 1 usable CUDA device"):
        device.resolve_device("cuda:1")


def test_the_engine_needs_kernels_for_a_gpu(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """`make setup` without GPU=1 leaves them out: the stages use the GPU, the engine does not."""
    driver(1)
    monkeypatch.setattr(flags, "find_spec", lambda name: None)
    assert (device.resolve_device("auto"), flags.engine_device("auto")) == ("cuda", "cpu")
    assert "make setup GPU=1" in capsys.readouterr().err
    with pytest.raises(UsageError, match="kernels are not installed"):
        flags.engine_device("cuda")
    monkeypatch.setattr(flags, "find_spec", lambda name: object())
    assert flags.engine_device("auto") == "cuda"


def test_large_page_locked_blocks_keep_their_size() -> None:
    """The setting's name is one that torch knows."""
    import torch

    torch._C._accelerator_setAllocatorSettings(device.EXACT_BLOCKS)


def test_numpy_does_not_warn_of_flushed_denormals() -> None:
    script = (
        "from arl.runtime.device import flushed_denormals\nwith flushed_denormals():\n    import numpy as np\n"
        "    for dtype in (np.float32, np.float64): str(np.finfo(dtype))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_denormals_are_zero_until_the_block_ends() -> None:
    import torch

    small = torch.tensor([1e-30])
    with device.flushed_denormals():
        assert float(small * 1e-10) == 0
    assert float(small * 1e-10) == pytest.approx(1e-40)
