"""A policy → llm.pt with upstream's names, which drops into the folder that `arl init` has read.

Untrained it has every tensor of the original, bit for bit, in its order, tied ones tied; a trained weight is rounded
to the dtype that the original has.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from arl.errors import ArlError
from arl.models.cosyvoice.build import KEPT, NAMES, upstream_name
from arl.models.cosyvoice.layout import TEXT
from arl.models.cosyvoice.source import LLM
from arl.policy import Policy
from arl.shards.durable import write_folder


def export(policy: Policy, out: Path) -> None:
    """Writes OUT/llm.pt, whole or not at all."""

    def fill(folder: Path) -> None:
        torch.save(upstream_tensors(policy), folder / LLM)

    write_folder(out, fill)


def upstream_tensors(policy: Policy) -> dict[str, Tensor]:
    """The tensors of llm.pt in the original's order. ArlError where the policy lacks one."""
    kept = load_file(policy.frontend_dir / KEPT)
    dtype = kept[TEXT].dtype
    found: Mapping[str, Tensor] = trained(policy.llm_dir, dtype) | kept
    tensors: dict[str, Tensor] = {}
    for name, owner in json.loads((policy.frontend_dir / NAMES).read_text()):
        if owner is None and name not in found:
            raise ArlError(f"{policy.path}: no tensor for {name} of {LLM}: take the policy from its source again")
        tensors[name] = tensors[owner] if owner else found[name]
    return tensors


def trained(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """The LM's tensors by their names in llm.pt."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            found |= {upstream_name(name): weights.get_tensor(name).to(dtype) for name in weights.keys()}  # noqa: SIM118
    return found
