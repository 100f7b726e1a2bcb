"""Names, shapes and dtypes of a checkpoint, from its safetensors headers: checked before the engine loads it.

SGLang reports success for unknown tensor names and dies of a wrong shape, so both are refused here.
Left out: the values (the parity probe of `arl sync` checks those). Reads headers only, no torch.
"""

import json
from pathlib import Path
from typing import Any

from arl.errors import ArlError

Signature = dict[str, list[int]]


def signature(llm_dir: Path) -> Signature:
    """{tensor name: shape} over the folder's *.safetensors, without a tied `lm_head.weight`.

    ArlError: no weights, a broken header, or a tensor the engine would drop without a word.
    """
    files = sorted(llm_dir.glob("*.safetensors"))
    if not files:
        raise ArlError(f"{llm_dir}: no *.safetensors weights; give a policy's llm/ folder")
    shapes: Signature = {}
    for file in files:
        shapes |= {name: entry["shape"] for name, entry in _header(file).items() if name != "__metadata__"}
    if read_config(llm_dir).get("tie_word_embeddings"):
        shapes.pop("lm_head.weight", None)  # some writers save the tied copy, some do not
    if "lm_head.bias" in shapes:
        raise ArlError(f"{llm_dir}: SGLang ignores lm_head.bias; export the model without an output bias")
    return shapes


def check_same(served: Signature, llm_dir: Path) -> None:
    """ArlError naming the first tensor in which the folder differs from what the engine serves."""
    offered = signature(llm_dir)
    for name in sorted(served.keys() | offered.keys()):
        if served.get(name) != offered.get(name):
            here, there = _shape(offered.get(name)), _shape(served.get(name))
            raise ArlError(
                f"{llm_dir}: tensor {name} is {here}, the engine serves {there} and keeps its weights; "
                "to serve another model: arl engine stop, then start"
            )


def read_config(llm_dir: Path) -> dict[str, Any]:
    """config.json of a Hugging Face folder. ArlError when it is missing or not JSON."""
    path = llm_dir / "config.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArlError(f"{path}: {error}; a policy's llm/ folder has one") from error


def _shape(shape: list[int] | None) -> str:
    return "absent" if shape is None else str(shape)


def _header(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > 100_000_000:  # safetensors' own limit
                raise ValueError("header too long")
            header = json.loads(stream.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if file.stat().st_size != 8 + size + max(ends, default=0):
            raise ValueError("its size is not what its header says")
        return header
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArlError(f"{file}: not a whole safetensors file ({error}); copy it again") from error
