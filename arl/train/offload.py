"""Host memory for what the device does not need all the time (`arl update --offload`).

The optimizer's state is kept there between steps, and the reference while the policy is computed. On a CPU, or where
the tensors already are in host memory, nothing is copied and nothing changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from arl.runtime.offload import page_locked


@contextmanager
def visiting(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Has a frozen module's weights on the device for a while; afterwards they are in host memory again."""
    tensors = [*module.parameters(), *module.buffers()]
    if device.type == "cpu":
        yield
        return
    on_host = [page_locked(tensor.data) for tensor in tensors]  # those that were just loaded are not yet
    for tensor, host in zip(tensors, on_host, strict=True):
        tensor.data = host.to(device, non_blocking=True)
    try:
        yield
    finally:
        for tensor, host in zip(tensors, on_host, strict=True):
            tensor.data = host
