"""Models that a resident update keeps in host memory between jobs, so that the next one need not load them.

A kept model is named by its policy folder's files (name, size, inode, times): the one just written, or just read. A
folder that has changed on disk in any way is loaded anew, so warm and cold give the same bits. A job takes a model
out and puts it back when it has ended well; after a failure nothing is kept. In a process that is not resident,
nothing ever is.

    model = llm(policy.llm_dir, device); ...; keep(model, next_policy.llm_dir)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from arl.runtime.offload import to_host

Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass
class Kept:
    """What is kept, by the signature of the folder it equals. is_resident: whether this process outlives its job."""

    is_resident: bool = False
    things: dict[Signature, Any] = field(default_factory=dict)


_KEPT = Kept()


def keep_between_jobs() -> None:
    """From now on, `keep` keeps."""
    _KEPT.is_resident = True


def signature(*folders: Path) -> Signature:
    """The files under `folders`; equal signatures mean equal contents, as far as the file system tells."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stat = path.stat()
                name = str(path.relative_to(folder.parent))
                found.append((name, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns))
    return tuple(found)


def take(*folders: Path) -> Any:
    """What was kept for these folders, or None. It is no longer kept: the job may change it."""
    return _KEPT.things.pop(signature(*folders), None) if _KEPT.is_resident else None


def keep(thing: Any, *folders: Path) -> None:
    """Keeps `thing`, which equals these folders' contents, until it is taken or `forget_all`."""
    if _KEPT.is_resident:
        _KEPT.things[signature(*folders)] = thing


def forget_all() -> None:
    """Drops everything: a new job takes what it needs first, and the rest is of no more use."""
    _KEPT.things.clear()


def sleep(modules: Iterable[nn.Module], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Takes weights, buffers and optimizer state off the device in place, into page-locked memory; frees its cache."""
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    if optimizer is not None:
        tensors += [tensor for state in optimizer.state.values() for tensor in state.values()]
    for tensor in tensors:
        tensor.data = to_host(tensor.data)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
