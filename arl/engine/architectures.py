"""Which of SGLang's model classes has a name, found without importing SGLang: its registry is made of its files.

A file of sglang/srt/models lists the classes it offers in `EntryClass`. Imports nothing, so that a policy that cannot
be served is refused before anything starts.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "sglang.srt.models"


@cache
def sglang_module(architecture: str) -> str | None:
    """The module that defines and offers this class, None where SGLang has no such class."""
    defined = re.compile(rf"^class {re.escape(architecture)}\(", re.MULTILINE)
    offered = re.compile(rf"^EntryClass\b[^]]*?\b{re.escape(architecture)}\b", re.MULTILINE)
    for file in _files():
        text = file.read_text(encoding="utf-8", errors="replace")
        if defined.search(text) and offered.search(text):
            return f"{PACKAGE}.{file.stem}"
    return None


def _files() -> list[Path]:
    spec = find_spec("sglang")
    roots = spec.submodule_search_locations if spec is not None else None
    return [file for root in roots or () for file in sorted(Path(root, "srt", "models").glob("*.py"))]
