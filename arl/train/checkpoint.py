"""The optimizer's state as safetensors, by parameter name, never pickled: a resumed run continues with the same bits.

    save_state(folder, optimizer, named, updates=3); ...; updates = load_state(folder, optimizer, named)

Left out: the policy folder around it (learner.py), and which of them a run resumes from (run.py).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.train.optimizer import MASTER, MOMENTS, AdamW, is_low


def state_tensors(optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state by `<parameter>/<moment>`, and `<parameter>/master` of a lower-precision parameter; as
    before the first step for a parameter that no gradient has reached."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in named.items():
        state = optimizer.state.get(parameter) or optimizer.fresh(parameter)
        tensors |= {f"{name}/{kind}": state[kind].contiguous() for kind in (*MOMENTS, MASTER) if kind in state}
    return tensors


def restore(
    optimizer: AdamW, named: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], updates: int
) -> None:  # fmt: skip
    """Gives the optimizer what `state_tensors` has returned, where its state is kept.

    A lower-precision parameter that has no float32 copy there starts with itself; a copy that does not round to the
    parameter is an ArlError.
    """
    for name, parameter in named.items():
        state = {"step": torch.tensor(float(updates))}
        for kind in (*MOMENTS, MASTER) if is_low(parameter) else MOMENTS:
            kept = tensors.get(f"{name}/{kind}", parameter.detach() if kind == MASTER else None)
            if kept is None:
                raise ArlError(f"no {name}/{kind} in the optimizer state; --fresh-optimizer starts anew")
            kept = kept.to(parameter.device, torch.float32 if is_low(parameter) else parameter.dtype)
            if kind == MASTER and not torch.equal(kept.to(parameter.dtype), parameter):
                raise ArlError(f"optimizer state of other weights (first: {name}); --fresh-optimizer starts anew")
            state[kind] = optimizer.stored(kept)
        optimizer.state[parameter] = state


def save_state(folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter], updates: int) -> None:
    """Writes `optimizer.safetensors` (moments by parameter name) and `state.json` (number of optimizer steps)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state_tensors(optimizer, named), folder / "optimizer.safetensors")
    (folder / "state.json").write_text(json.dumps({"updates": updates}) + "\n")


def load_state(folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> int:
    """Restores what `save_state` wrote; the number of optimizer steps made, 0 where there is no state.

    ArlError when the state belongs to another set of parameters, or to other weights.
    """
    if not (folder / "state.json").is_file():
        return 0
    updates = json.loads((folder / "state.json").read_text())["updates"]
    tensors = load_file(folder / "optimizer.safetensors")
    known = {key.rpartition("/")[0] for key in tensors}
    if known != set(named):
        odd = sorted(known ^ set(named))[0]
        raise ArlError(f"{folder}: optimizer state of other parameters (first: {odd}); --fresh-optimizer starts anew")
    try:
        restore(optimizer, named, tensors, updates)
    except ArlError as error:
        raise ArlError(f"{folder}: {error}") from error
    return updates
