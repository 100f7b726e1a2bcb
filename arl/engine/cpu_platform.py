"""The out-of-tree SGLang platform: one CPU, torch kernels only (imported by SGLang through platform.py).

SGLang's in-tree CPU platform expects the CPU build of sgl-kernel; an out-of-tree platform makes it take
the plain torch path everywhere. Left out: graph capture, pinned memory, tensor parallelism.
"""

import torch
from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import PlatformCapabilities, SRTPlatform


class TorchCpuPlatform(CpuDeviceMixin, SRTPlatform):
    """Says "no special kernels" to every question SGLang asks."""

    _enum = PlatformEnum.OOT
    capabilities = PlatformCapabilities()

    def is_pin_memory_available(self, device: torch.device | None = None) -> bool:
        return False

    def get_default_attention_backend(self) -> str:
        return "torch_native"
