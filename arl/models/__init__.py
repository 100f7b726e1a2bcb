"""Model families: one folder each, with the same file names (see README.md for the checklist).

frontend.py   audio → features → embeddings (`load`, `Frontend`)
build.py      a checkpoint → a policy folder, and back
"""

import importlib
from types import ModuleType
from typing import Any

from arl.errors import ArlError

FAMILIES = {"whisper-qwen2": "arl.models.whisper_qwen2", "qwen2-flow": "arl.models.qwen2_flow"}


class Family:
    """The modules of one family, imported when asked for."""

    def __init__(self, name: str, package: str) -> None:
        self.name, self.package = name, package

    def __getattr__(self, module: str) -> ModuleType:
        return importlib.import_module(f"{self.package}.{module}")


def family(name: str) -> Any:
    """The family called `name` (`arl.json`'s "family"). ArlError names the known ones."""
    if name not in FAMILIES:
        raise ArlError(f"unknown model family {name!r}; known: {', '.join(FAMILIES)}")
    return Family(name, FAMILIES[name])
