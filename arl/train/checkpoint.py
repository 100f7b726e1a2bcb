"""The optimizer's state as safetensors, by parameter name, never pickled: a resumed run continues with the same bits.

    save_state(folder, optimizer, named, updates=3); ...; updates = load_state(folder, optimizer, named)

What is read is checked first: a state of other parameters or shapes, with NaN, infinite or negative second moments,
with an impossible count, cut or half there, is an ArlError that names --fresh-optimizer. Left out: the policy folder
around it (learner.py), and which of them a run resumes from (run.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.train.finite import is_finite
from arl.train.optimizer import MASTER, MOMENTS, AdamW, is_low

COUNTS, TENSORS = "state.json", "optimizer.safetensors"
FRESH = "--fresh-optimizer starts anew"
MOST_UPDATES = 2**24  # the step of AdamW is a float32, which counts no further


@dataclass(frozen=True)
class Counts:
    """What a policy's optimizer has done. updates: steps since its state was fresh. run_steps: those of the present
    run, which the schedule counts. trains_on: what that run trains on, "" where the state does not say."""

    updates: int = 0
    run_steps: int = 0
    trains_on: str = ""


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
                raise ArlError(f"no {name}/{kind} in the optimizer state; {FRESH}")
            kept = kept.to(parameter.device, torch.float32 if is_low(parameter) else parameter.dtype)
            if kind == MASTER and not torch.equal(kept.to(parameter.dtype), parameter):
                raise ArlError(f"optimizer state of other weights (first: {name}); {FRESH}")
            state[kind] = optimizer.stored(kept)
        optimizer.state[parameter] = state


def save_state(
    folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter], updates: int,
    run: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes `optimizer.safetensors` (moments by parameter name) and `state.json` (number of optimizer steps).

    run: `run_steps` and `trains_on` of `Counts`. ArlError where the state has NaN or infinite values.
    """
    tensors = state_tensors(optimizer, named)
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise ArlError(f"the update gave NaN or infinite optimizer state (first: {name}), so nothing is written: "
                           "lower --lr, or look for a sample with extreme values")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / TENSORS)
    counts = {"updates": updates, **(run or {})}
    (folder / COUNTS).write_text(json.dumps(counts) + "\n")


def has_state(folder: Path) -> bool:
    """Whether a state lies there, be it damaged."""
    return (folder / COUNTS).exists() or (folder / TENSORS).exists()


def load_state(folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> int:
    """Restores what `save_state` wrote; the number of optimizer steps made, 0 where there is no state.

    ArlError when the state is damaged or impossible, belongs to another set of parameters, or to other weights.
    """
    if not has_state(folder):
        return 0
    updates = read_counts(folder).updates
    try:
        tensors = read_tensors(folder / TENSORS, named)
        restore(optimizer, named, tensors, updates)
    except ArlError as error:
        raise ArlError(f"{folder}: {error}") from error
    return updates


def read_counts(folder: Path) -> Counts:
    """The counts of a state. ArlError where they are missing, cut or impossible."""
    path = folder / COUNTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArlError(f"{path}: missing or damaged, so the optimizer state is not whole; {FRESH}") from error
    if not isinstance(found, dict):
        raise ArlError(f"{path}: not a JSON object; {FRESH}")
    counts = {"run_steps": found.get("updates"), **found}
    for name in ("updates", "run_steps"):
        value = counts.get(name)
        if type(value) is not int or not 0 <= value <= MOST_UPDATES:
            raise ArlError(f"{path}: {name!r} is {value!r}, not a number of optimizer steps; {FRESH}")
    trains_on = counts.get("trains_on", "")
    if counts["run_steps"] > counts["updates"] or not isinstance(trains_on, str):
        raise ArlError(f"{path}: impossible counts; {FRESH}")
    return Counts(counts["updates"], counts["run_steps"], trains_on)


def read_tensors(path: Path, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The moments of these parameters. ArlError for a file that is missing or cut, and for tensors that are missing, of
    other parameters, of other shapes or impossible."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ArlError(f"{path.name} is missing or damaged ({str(error).splitlines()[0]}); {FRESH}") from error
    known = {key.rpartition("/")[0] for key in tensors}
    if known != set(named):
        odd = sorted(known ^ set(named))[0]
        raise ArlError(f"optimizer state of other parameters (first: {odd}); {FRESH}")
    for key, tensor in tensors.items():
        name, _, kind = key.rpartition("/")
        problem = state_problem(kind, tensor, named[name])
        if problem:
            raise ArlError(f"{path.name}: tensor {key} {problem}; {FRESH}")
    return tensors


def state_problem(kind: str, tensor: Tensor, parameter: Tensor) -> str:
    """What is wrong with a stored moment or float32 copy of a parameter; "" for a good one."""
    if kind not in (*MOMENTS, MASTER) or not tensor.is_floating_point():
        return "is no optimizer state"
    if tensor.shape != parameter.shape:
        return f"is {list(tensor.shape)}, and the parameter {list(parameter.shape)}"
    if not is_finite(tensor):
        return "has NaN or infinite values"
    if kind == "exp_avg_sq" and tensor.numel() and float(tensor.min()) < 0:
        return "has negative values, which are no squares"
    return ""
