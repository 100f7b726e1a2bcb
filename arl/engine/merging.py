"""A policy's adapter added to its base inside the engine, weight by weight as the base is read (imported by SGLang).

    with merging("policy/llm"): ...     # SGLang reads the folder meanwhile, and our class calls `merged`

No merged checkpoint is ever written: an update of the engine reads the base and a few megabytes. Each weight is the
base's plus the adapter's product in float32, rounded once to the dtype that is served (arl/adapter.py).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from torch import Tensor

from arl.adapter import load_adapter
from arl.engine.sglang_models import ADAPTERS
from arl.policy import MARKER, Policy

ADAPTER: ContextVar[Path | None] = ContextVar("ADAPTER", default=None)  # of the weights that are read now


def adapter_of(llm_dir: Path) -> Path | None:
    """The adapter's folder of the policy whose `llm/` this is; None without one, and where it is no policy's."""
    return Policy.open(llm_dir.parent).adapter_dir if (llm_dir.parent / MARKER).is_file() else None


@contextmanager
def merging(llm_dir: str) -> Iterator[None]:
    """Has the weights that are read meanwhile merged with their policy's adapter, if it has one, and if the engine does
    not keep adapters apart."""
    token = ADAPTER.set(None if os.environ.get(ADAPTERS) else adapter_of(Path(llm_dir)))
    try:
        yield
    finally:
        ADAPTER.reset(token)


def merged(weights: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    """(name, weight) of a base → the same with the adapter added. ArlError for an adapter of other weights."""
    folder = ADAPTER.get()
    adapter = None if folder is None else load_adapter(folder)
    return weights if adapter is None else adapter.all_merged(weights)
