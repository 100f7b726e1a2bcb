"""Tensors to page-locked host memory."""

import torch
from torch import Tensor


def to_host(tensor: Tensor) -> Tensor:
    """The tensor in host memory, page-locked if it comes from a GPU; itself if it is there."""
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return host.copy_(tensor)
