"""From the device to page-locked host memory."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def to_host(tensor: Tensor) -> Tensor:
    """The tensor in host memory, page-locked if it comes from a GPU; itself if it is there."""
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return host.copy_(tensor)


def page_locked(tensor: Tensor) -> Tensor:
    """The tensor in page-locked host memory, wherever it is; itself if it is there. Needs a GPU."""
    if tensor.device.type == "cpu" and tensor.is_pinned():
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)


def sleep(modules: Iterable[nn.Module], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Takes weights, buffers and optimizer state off the device in place, into page-locked memory; frees its cache."""
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    if optimizer is not None:
        tensors += [tensor for state in optimizer.state.values() for tensor in state.values()]
    for tensor in tensors:
        tensor.data = to_host(tensor.data)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
