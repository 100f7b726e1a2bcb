"""Which SGLang flags and environment the engine runs with, per device, and why.

Left out: anything the user passes in `extra`; it comes last and wins. No imports beyond the standard
library: the device is found through the CUDA driver, not torch.
"""

import ctypes
import json
import os
import re
from pathlib import Path
from typing import Any

from arl.engine.platform import ROOTS_FILE, STARTED_BY_ARL
from arl.engine.processes import ROOTS
from arl.engine.served_model import ServedModel
from arl.engine.sglang_models import ADAPTERS, ARCHITECTURE
from arl.errors import UsageError
from arl.runtime.openmp import PATIENT_THREADS

CPU_CACHE_BYTES = 1 << 30  # key/value cache on CPU; allocated lazily by the kernel
CPU_CACHE_TOKENS = 131_072


def cuda_devices() -> int:
    """Number of CUDA devices the driver shows this process (CUDA_VISIBLE_DEVICES counts); 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def resolve_device(device: str) -> str:
    """Turn auto into cuda where the driver shows a device and into cpu elsewhere; cpu, cuda and cuda:N stay.

    UsageError for another name, and for CUDA where there is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: use auto, cpu, cuda or cuda:N")
    if device == "cpu":
        return device
    found = cuda_devices()
    if device == "auto":
        return "cuda" if found else "cpu"
    if int(device.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device {device}: this machine shows {found} CUDA device(s); use --device cpu")
    return device


def server_flags(
    model: ServedModel,
    audio_token_id: int,
    device: str,
    port: int,
    max_total_tokens: int | None,
    mem_fraction: float | None,
    lora_rank: int = 0,
) -> list[str]:
    """The command line of `python -m arl.engine.serve` for this model. lora_rank: of the adapters that it shall keep
    apart from the weights, 0 for none."""
    overrides = {**model.overrides, "audio_token_id": audio_token_id}
    flags: dict[str, Any] = {
        "--model-path": model.llm_dir.absolute(),
        "--host": "127.0.0.1",
        "--port": port,
        "--device": device.partition(":")[0],
        # `auto` would turn a float32 checkpoint into float16, and the log-probs would not be the trainer's.
        "--dtype": model.dtype,
        "--weight-version": model.file_version,  # an adapter comes once the engine runs
        "--json-model-override-args": json.dumps(overrides),
        "--log-level-http": "warning",
    }
    if (longest := model.longest) is not None:
        flags["--context-length"] = longest
    if max_total_tokens is None and device == "cpu":
        max_total_tokens = _cpu_tokens(model)
    if max_total_tokens is not None:
        flags["--max-total-tokens"] = max_total_tokens
    if mem_fraction is not None:
        flags["--mem-fraction-static"] = mem_fraction
    switches = ["--skip-tokenizer-init", "--skip-server-warmup", "--sleep-on-idle"]
    if device == "cpu":
        # A shard of 32 utterances x 12 hypotheses decodes as one batch.
        flags |= {"--attention-backend": "torch_native", "--max-running-requests": 512}
        flags["--watchdog-timeout"] = 3600  # one step of a large model can take minutes here
    else:
        # The memory saver is what release/resume work through; seeds need the torch sampler under top-p.
        flags |= {"--sampling-backend": "pytorch", "--base-gpu-id": device.partition(":")[2] or 0}
        switches.append("--enable-memory-saver")
    words = [str(word) for flag in flags.items() for word in flag] + switches
    return words + adapter_flags(model, device, lora_rank) if lora_rank else words


def adapter_flags(model: ServedModel, device: str, lora_rank: int) -> list[str]:
    """Flags for an adapter of this rank on any linear layer, and for the one that takes its place."""
    room = ["--max-loras-per-batch", "2", "--max-loaded-loras", "2"]
    kernels = ["--lora-backend", "torch_native"] if device == "cpu" else []
    targets = ["--lora-strict-loading", "--lora-target-modules", *model.linear_layers]
    return ["--enable-lora", "--max-lora-rank", str(lora_rank), *room, *kernels, *targets]


def server_environment(model: ServedModel, device: str, temporary: Path, lora_rank: int = 0) -> dict[str, str]:
    """The engine's whole environment."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without a bytecode cache the start takes twice as long
    environment.pop("SGLANG_USE_CPU_ENGINE", None)  # it would choose SGLang's own CPU platform
    environment |= {
        STARTED_BY_ARL: "1",
        ARCHITECTURE: model.base_architecture,
        ADAPTERS: "1" if lora_rank else "",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary),  # SGLang leaves its sockets behind; they go with this folder
        ROOTS_FILE: str(temporary / ROOTS),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
    }
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # they would listen on the machine's own address
        environment.setdefault(name, "lo")
    if not os.access(os.path.expanduser("~"), os.W_OK):  # caches of compilers go there
        environment |= {"HOME": str(temporary), "XDG_CACHE_HOME": str(temporary / ".cache")}
    if device == "cpu":
        environment |= {
            "CUDA_VISIBLE_DEVICES": "",
            **PATIENT_THREADS,
        }
        # Half the cores: the HTTP process needs one too, and small products gain little from more.
        environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
    return environment


def _cpu_tokens(model: ServedModel) -> int:
    return max(4096, min(CPU_CACHE_TOKENS, CPU_CACHE_BYTES // model.cache_bytes_per_token))
