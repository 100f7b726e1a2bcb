"""AdamW over the policy's parameters, its learning rate, and its state as safetensors.

State is kept by parameter name, never pickled, so a resumed run continues with the same bits.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.errors import ArlError

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Schedule:
    """Learning rate per step: linear warm-up over `warmup` steps, then constant, or cosine to 0 at `total`."""

    lr: float
    warmup: int = 0
    kind: str = "constant"
    total: int = 0

    def at(self, step: int) -> float:
        """step counts from 0: the rate of the (step+1)-th optimizer step."""
        rate = self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr
        if self.kind == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total)))
        return rate


def make_adamw(
    named: Mapping[str, nn.Parameter], weight_decay: float, betas: tuple[float, float] = (0.9, 0.98)
) -> torch.optim.AdamW:
    """AdamW with decay on matrices only (not on norms and biases), in the order of the names."""
    decayed = [p for _, p in sorted(named.items()) if p.ndim >= 2]
    plain = [p for _, p in sorted(named.items()) if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=0.0, betas=betas
    )


def save_state(folder: Path, optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], updates: int) -> None:
    """Writes `optimizer.safetensors` (moments by parameter name) and `state.json` (number of optimizer steps).

    The moments of a parameter that no gradient has reached are zeros.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, parameter in named.items():
        for moment in MOMENTS:
            kept = optimizer.state.get(parameter, {}).get(moment)
            tensors[f"{name}/{moment}"] = torch.zeros_like(parameter) if kept is None else kept.contiguous()
    save_file(tensors, folder / "optimizer.safetensors")
    (folder / "state.json").write_text(json.dumps({"updates": updates}) + "\n")


def load_state(folder: Path, optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> int:
    """Restores what `save_state` wrote; the number of optimizer steps made, 0 where there is no state.

    ArlError when the state belongs to another set of parameters.
    """
    if not (folder / "state.json").is_file():
        return 0
    updates = json.loads((folder / "state.json").read_text())["updates"]
    tensors = load_file(folder / "optimizer.safetensors")
    known = {key.rpartition("/")[0] for key in tensors}
    if known != set(named):
        odd = sorted(known ^ set(named))[0]
        raise ArlError(f"{folder}: optimizer state of other parameters (first: {odd}); --fresh-optimizer starts anew")
    for name, parameter in named.items():
        moments = {moment: tensors[f"{name}/{moment}"].to(parameter.device) for moment in MOMENTS}
        optimizer.state[parameter] = {"step": torch.tensor(float(updates)), **moments}
    return updates
