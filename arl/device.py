"""Choosing the device and the number and manner of CPU threads, in one place."""

import os
from typing import Any

# OpenMP threads that wait by spinning keep each other from running where another program has a core: on two busy
# cores an update took 38 s so, and 7 with these. Read when torch is loaded.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def make_threads_patient() -> None:
    """Has OpenMP threads sleep while they wait, unless the environment says otherwise. Before torch is loaded."""
    for name, value in PATIENT_THREADS.items():
        os.environ.setdefault(name, value)


def pick_device(device: str = "auto", threads: int = 0) -> Any:
    """`auto`, `cpu`, `cuda` or `cuda:N` → torch.device; sets torch's CPU threads (0: all cores)."""
    import torch

    from arl.errors import UsageError

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
