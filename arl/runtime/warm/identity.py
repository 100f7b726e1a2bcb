"""Whether a resident worker would do what a new process would: the same code, the same environment.

A worker is replaced when any of it has changed. Imported by every command line, so nothing heavy.
"""

import os
import sys
from collections.abc import Mapping
from zlib import crc32

from arl.runtime.openmp import PATIENT_THREADS

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What libraries read once, at import or at their first use: a job could not change it any more.
READ_AT_IMPORT = (
    "PYTHON", "LD_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "CUDA", "NVIDIA_", "TORCH", "PYTORCH", "NCCL_",
    "HF_", "TRANSFORMERS_", "TOKENIZERS_", "ATEN_", "DNNL_", "ONEDNN_", "LC_", "LANG", "MALLOC_",
    "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS",
)  # fmt: skip


def code_version() -> str:
    """Names the code that a new process would run: interpreter, and place, size and time of each file."""
    files = []
    for folder, folders, names in os.walk(PACKAGE):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                found = os.stat(os.path.join(folder, name))
                files.append(f"{folder}/{name} {found.st_size} {found.st_mtime_ns}")
    return _digest([sys.executable, sys.version, *files])


def environment_version(environment: Mapping[str, str]) -> str:
    """Names the part of the environment that counts when a process starts, with what `arl` sets by itself."""
    environment = {**PATIENT_THREADS, **environment}
    return _digest([f"{name}={environment[name]}" for name in sorted(environment) if name.startswith(READ_AT_IMPORT)])


def identity() -> str:
    """Of this process, as it was started: equal for a worker and a client that may share a job."""
    return f"{code_version()}-{environment_version(os.environ)}"


def _digest(lines: list[str]) -> str:
    text = "\n".join(lines).encode(errors="surrogateescape")
    return f"{len(text)}.{crc32(text):08x}"  # hashlib takes 3 ms to import
