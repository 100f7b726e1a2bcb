"""Whether numbers are finite: NaN and infinities are refused where tensors are read, and before they are written.

refuse_not_finite(model.named_parameters(), "policy/llm")      # ArlError names the first tensor
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from arl.errors import ArlError


def is_finite(tensor: Tensor) -> bool:
    """Whether every element is, in one pass without a copy. Integers always are."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.element_size() < 2:  # float8 has no minimum
        tensor = tensor.float()
    low, high = torch.aminmax(tensor.detach())  # NaN where there is one
    return bool(torch.isfinite(low) & torch.isfinite(high))


def refuse_not_finite(tensors: Iterable[tuple[str, Tensor]], where: str, remedy: str) -> None:
    """ArlError for the first tensor with a NaN or an infinity."""
    for name, tensor in tensors:
        if not is_finite(tensor):
            raise ArlError(f"{where}: tensor {name} has NaN or infinite values: {remedy}")
