"""Entry point `sglang.srt.platforms`: SGLang on a machine without a GPU.

Loaded by every SGLang process on the machine, so it imports nothing and does nothing unless arl started
the process. Left out: CPU kernels of sgl-kernel (Intel AMX); plain torch runs everywhere.
"""

import os

STARTED_BY_ARL = "ARL_ENGINE_PROCESS"
ROOTS_FILE = "ARL_EMBEDDING_ROOTS_FILE"  # lists the folders whose shards may be read (reference.py)


def activate() -> str | None:
    """Return the dotted name of our platform class, or None: not our process, or CUDA is there."""
    if os.environ.get(STARTED_BY_ARL) != "1":
        return None
    import torch

    return None if torch.cuda.is_available() else "arl.engine.cpu_platform:TorchCpuPlatform"
