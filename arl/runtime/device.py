"""Choosing the device and the number of CPU threads, in one place: for the engine and for the stages alike.

`resolve_device` asks the driver and reads for which CUDA the installed torch was built, without importing it.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arl.errors import UsageError
from arl.runtime.ranks import local_rank

ALLOCATOR = "PYTORCH_ALLOC_CONF"
OLD_ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"
# Larger blocks of page-locked memory are not rounded up to a power of two: 7B's state would take 174 GB, not 91.
EXACT_BLOCKS = "pinned_max_round_threshold_mb:1"


@cache
def torch_cuda() -> int:
    """The major version of CUDA that the installed torch was built for; 0 for a build without."""
    spec = find_spec("torch")
    text = (Path(spec.origin).parent / "version.py").read_text() if spec is not None and spec.origin else ""
    found = re.search(r"^cuda\b.*= *'(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def cuda_devices() -> int:
    """Number of CUDA devices that the driver shows this process (CUDA_VISIBLE_DEVICES counts) and that the installed
    torch can use; 0 without a driver, and with one older than torch's CUDA."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0 or not 0 < torch_cuda() <= version.value // 1000:
        return 0
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def resolve_device(device: str) -> str:
    """Turn auto into cuda where there is a usable device and into cpu elsewhere; cpu, cuda and cuda:N stay.

    Under torchrun and srun, auto and cuda are cuda:N of this process among those of its node. UsageError for another
    name, and for CUDA where there is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: use auto, cpu, cuda or cuda:N")
    if device == "cpu":
        return device
    found = cuda_devices()
    if device == "auto" and not found:
        return "cpu"
    if int(device.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device {device}: this machine has {found} usable CUDA device(s); use --device cpu")
    local = local_rank()
    if local is None or device.startswith("cuda:"):
        return "cuda" if device == "auto" else device
    return f"cuda:{local % found}"


def pick_device(device: str = "auto", threads: int = 0) -> Any:
    """`auto`, `cpu`, `cuda` or `cuda:N` → torch.device, which becomes torch's current one; sets torch's CPU threads
    (0: all cores). UsageError as `resolve_device`."""
    import torch

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    chosen = torch.device(resolve_device(device))
    if chosen.type == "cuda":
        if not {ALLOCATOR, OLD_ALLOCATOR} & os.environ.keys():
            os.environ[ALLOCATOR] = EXACT_BLOCKS  # read with torch's first allocation
        if not torch.cuda.is_available():
            raise UsageError(f"--device {device}: torch {torch.__version__} cannot use it; use --device cpu")
        torch.cuda.set_device(chosen.index or 0)
    return chosen


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """A CPU takes numbers below 1.2e-38 for zero until the block ends: gradients have many, each a hundred times slower
    than others. Threads that torch starts in the block keep it so; enter it before torch has computed."""
    import numpy as np
    import torch

    for dtype in (np.float32, np.float64):
        np.finfo(dtype)  # which numpy works out once, and warns where it finds no denormals
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def quiet_transformers() -> None:
    """Turns off transformers' own progress bars and chatter: a stage shows its own, on a terminal only."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
