"""The optimizer's state as safetensors, by parameter name, never pickled: a resumed run continues with the same bits.

    save_state(folder, optimizer, named, updates=3); ...; updates = load_state(folder, optimizer, named)

Of several processes each writes its rows to a file of its own, and an index lists the files; any number of processes
reads what any number has written. What is read is checked first: a state of other parameters or shapes, with NaN,
infinite or negative second moments, with an impossible count, cut or half there, is an ArlError that names
--fresh-optimizer. Left out: the policy folder around it (learner.py), and which of them a run resumes from (run.py).
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from arl.errors import ArlError
from arl.shards.durable import sync
from arl.train.finite import is_finite
from arl.train.optimizer import MASTER, MOMENTS, AdamW, is_low
from arl.train.world import ALONE, World, is_spread, local

COUNTS, TENSORS, INDEX = "state.json", "optimizer.safetensors", "optimizer.index.json"
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
            own = local(parameter.detach())
            kept = tensors.get(f"{name}/{kind}", own if kind == MASTER else None)
            if kept is None:
                raise ArlError(f"no {name}/{kind} in the optimizer state; {FRESH}")
            kept = kept.to(parameter.device, torch.float32 if is_low(parameter) else parameter.dtype)
            if kind == MASTER and not torch.equal(kept.to(parameter.dtype), own):
                raise ArlError(f"optimizer state of other weights (first: {name}); {FRESH}")
            state[kind] = optimizer.stored(kept)
        optimizer.state[parameter] = state


def save_state(
    folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter], updates: int,
    run: Mapping[str, Any] | None = None, world: World = ALONE,
) -> None:  # fmt: skip
    """Writes `optimizer.safetensors` (moments by parameter name) and `state.json` (number of optimizer steps). Every
    process calls it, for the same folder.

    run: `run_steps` and `trains_on` of `Counts`. ArlError where the state has NaN or infinite values.
    """
    tensors = state_tensors(optimizer, named)
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise ArlError(f"the update gave NaN or infinite optimizer state (first: {name}), so nothing is written: "
                           "lower --lr, or look for a sample with extreme values")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    files = part_names(world.size)
    own = tensors if world.is_first else {key: t for key, t in tensors.items() if is_spread(named[parameter_of(key)])}
    save_file(own, folder / files[world.rank])
    if world.size > 1:
        sync(folder / files[world.rank])
    if world.is_first and world.size > 1:
        (folder / INDEX).write_text(json.dumps({"files": files}, indent=1) + "\n")
    if world.is_first:
        (folder / COUNTS).write_text(json.dumps({"updates": updates, **(run or {})}) + "\n")


def part_names(n_parts: int) -> list[str]:
    """The files of a state, whose rows follow each other in this order."""
    stem, _, suffix = TENSORS.partition(".")
    return [TENSORS] if n_parts == 1 else [f"{stem}-{i + 1:05d}-of-{n_parts:05d}.{suffix}" for i in range(n_parts)]


def parameter_of(key: str) -> str:
    """`<parameter>/<moment>` → `<parameter>`."""
    return key.rpartition("/")[0]


def has_state(folder: Path) -> bool:
    """Whether a state lies there, be it damaged."""
    return any((folder / name).exists() for name in (COUNTS, TENSORS, INDEX))


def load_state(
    folder: Path, optimizer: AdamW, named: Mapping[str, nn.Parameter], world: World = ALONE
) -> int:  # fmt: skip
    """Restores what `save_state` wrote; the number of optimizer steps made, 0 where there is no state.

    ArlError when the state is damaged or impossible, belongs to another set of parameters, or to other weights.
    """
    if not has_state(folder):
        return 0
    updates = read_counts(folder).updates
    try:
        tensors = read_tensors(folder, named, world)
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


def files_of(folder: Path) -> list[str]:
    """The names of the files of a state. ArlError for a damaged index."""
    path = folder / INDEX
    if not path.exists():
        return [TENSORS]
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        if files != part_names(len(files)):
            raise ValueError("not the names of a state's files")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArlError(f"{INDEX} is damaged ({first_line(error)}); {FRESH}") from error
    return files


def read_tensors(folder: Path, named: Mapping[str, nn.Parameter], world: World = ALONE) -> dict[str, Tensor]:
    """This process's rows of the moments of these parameters. ArlError for a file that is missing or cut, and for
    tensors that are missing, of other parameters, of other shapes or impossible."""
    tensors: dict[str, Tensor] = {}
    with ExitStack() as stack:
        parts = {name: stack.enter_context(open_part(folder / name)) for name in files_of(folder)}
        keys = {key: None for part in parts.values() for key in part.keys()}  # noqa: SIM118 - not a dict
        known = {parameter_of(key) for key in keys}
        if known != set(named):
            odd = sorted(known ^ set(named))[0]
            raise ArlError(f"optimizer state of other parameters (first: {odd}); {FRESH}")
        for key in keys:
            name, _, kind = key.rpartition("/")
            pieces = [part.get_slice(key) for part in parts.values() if key in part.keys()]  # noqa: SIM118
            problem = shape_problem([piece.get_shape() for piece in pieces], named[name])
            tensors[key] = rows_of(pieces, *world.rows(named[name])) if not problem else torch.empty(0)
            problem = problem or state_problem(kind, tensors[key])
            if problem:
                raise ArlError(f"{next(iter(parts))}: tensor {key} {problem}; {FRESH}")
    return tensors


def open_part(path: Path) -> Any:
    """A file of a state. ArlError where it is missing or damaged."""
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError, ValueError) as error:
        raise ArlError(f"{path.name} is missing or damaged ({first_line(error)}); {FRESH}") from error


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def rows_of(pieces: Sequence[Any], first: int, count: int) -> Tensor:
    """`count` rows from `first` on, of slices of files that follow each other."""
    if not pieces[0].get_shape():
        return pieces[0][...]
    found: list[Tensor] = []
    start = 0
    for piece in pieces:
        stop = start + piece.get_shape()[0]
        low, high = max(first, start), min(first + count, stop)
        if low < high or not found:
            found.append(piece[low - start : max(high, low) - start])
        start = stop
    return torch.cat(found) if len(found) > 1 else found[0]


def shape_problem(shapes: Sequence[Sequence[int]], parameter: Tensor) -> str:
    """What is wrong with the shapes of a stored tensor's parts; "" for those of the parameter."""
    whole = [sum(shape[0] for shape in shapes), *shapes[0][1:]] if shapes[0] else []
    if whole != list(parameter.shape) or any(list(shape[1:]) != whole[1:] for shape in shapes):
        return f"is {whole}, and the parameter {list(parameter.shape)}"
    return ""


def state_problem(kind: str, tensor: Tensor) -> str:
    """What is wrong with a stored moment or float32 copy of a parameter; "" for a good one."""
    if kind not in (*MOMENTS, MASTER) or not tensor.is_floating_point():
        return "is no optimizer state"
    if not is_finite(tensor):
        return "has NaN or infinite values"
    if kind == "exp_avg_sq" and tensor.numel() and float(tensor.min()) < 0:
        return "has negative values, which are no squares"
    return ""
