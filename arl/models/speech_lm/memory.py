"""One stored tensor at a time, between its bytes in a file and torch."""

import json

import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes

from arl.models.speech_lm.tensors import Stored


def load(tensor: Stored) -> torch.Tensor:
    """A stored tensor in memory."""
    offsets = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [0, tensor.size]}
    header = json.dumps({"x": offsets}).encode()
    return load_bytes(len(header).to_bytes(8, "little") + header + b"".join(tensor.blocks()))["x"]


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """A tensor's bytes as safetensors stores them."""
    data = save_bytes({"x": tensor.contiguous()})
    return data[8 + int.from_bytes(data[:8], "little") :]
