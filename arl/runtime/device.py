"""Choosing the device and the number of CPU threads, in one place."""

import os
from typing import Any

from arl.errors import UsageError


def pick_device(device: str = "auto", threads: int = 0) -> Any:
    """`auto`, `cpu`, `cuda` or `cuda:N` → torch.device; sets torch's CPU threads (0: all cores)."""
    import torch

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"--device {device}: use auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: this machine has no CUDA device; use --device cpu")
    return chosen


def quiet_transformers() -> None:
    """Turns off transformers' own progress bars and chatter: a stage shows its own, on a terminal only."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
