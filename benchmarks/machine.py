"""The machine and the versions a result was measured with; never its name, its paths or its address."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "sglang", "numpy")


def describe() -> dict[str, Any]:
    """{"cpu", "cores", "memory_gb", "gpu"?, "system", "python", "versions"}."""
    described: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    return described | gpu()


def cpu_model() -> str:
    """The CPU's model name and, where it has them, the vector extensions that matter to matrix products."""
    name, flags = platform.processor() or platform.machine(), ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() == "flags":
            flags = value
    shown = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags.split()]
    return f"{name} ({', '.join(shown)})" if shown else name


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def gpu() -> dict[str, Any]:
    """{"gpu", "gpu_memory_gb"} where there is one."""
    from arl.runtime.device import cuda_devices

    if not cuda_devices():
        return {}
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {"gpu": properties.name, "gpu_memory_gb": round(properties.total_memory / 1e9, 1)}
