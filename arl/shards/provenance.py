"""How a record came about: the command line that was typed, and the versions of the packages that computed.

provenance()     # {"command": "arl reward --shards rollout/ --with wer", "versions": {"arl": "0.2.0", …}}
"""

import functools
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("arl", "torch", "transformers", "sglang", "numpy", "peft")


def provenance() -> dict[str, Any]:
    """The fields that every line of `stage.jsonl` has of its process."""
    return {"command": shlex.join(["arl", *sys.argv[1:]]), "versions": versions()}


@functools.cache
def versions() -> dict[str, str]:
    """Name → version of Python and of those of `PACKAGES` that are installed. Imports none of them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
