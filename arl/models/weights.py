"""A part's sizes and weights from its files: whole, finite, of one form with each other, or refused in one line.

    codec = made_of(folder / "codec.json", "a codec's sizes", lambda sizes: Codec(**sizes))
    fill(codec, read_weights(folder / "codec.safetensors"), folder / "codec.safetensors", folder / "codec.json")

Left out: whole checkpoints of transformers (`arl.train.load`).
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.train.finite import refuse_not_finite
from arl.train.load import UNREADABLE, first_line

Part = TypeVar("Part")
AGAIN = "take the policy from its source again"


def made_of(config: Path, what: str, make: Callable[[Any], Part]) -> Part:
    """What `make` makes of a JSON file. ArlError for a damaged file, and for values that make nothing.

    what: the file should have, as "a codec's sizes".
    """
    try:
        return make(json.loads(config.read_text(encoding="utf-8")))
    except (*UNREADABLE, AssertionError) as error:
        raise ArlError(f"{config}: not {what} ({first_line(error)}): {AGAIN}") from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. ArlError where it is missing or damaged, or a value is not finite."""
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        problem = "damaged" if file.is_file() else "missing"
        raise ArlError(f"{file}: {problem} ({first_line(error)}): {AGAIN}") from error
    refuse_not_finite(tensors.items(), str(file), AGAIN)
    return tensors


def fill(module: nn.Module, tensors: Mapping[str, Tensor], file: Path, config: Path) -> None:
    """Gives a module the tensors of a file. ArlError for one that is missing, too many, or of another shape than
    `config` makes the module."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArlError(f"{file}: does not fit {config}, so not the weights of these sizes: {reason}") from error


def read_pt(path: Path) -> Mapping[str, Any]:
    """The mapping in a `.pt` file, tensors mapped from the disk. ArlError where it is damaged, or would run code."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ArlError(f"{path}: a pickle with more in it than tensors, which could run code when it is read: take the "
                       "file from its source again, or save the tensors alone") from error  # fmt: skip
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArlError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}): fetch it again") from error
    if not isinstance(found, dict):
        raise ArlError(f"{path}: no mapping of names to tensors")
    return found
