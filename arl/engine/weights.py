"""What model a checkpoint is, from its config and safetensors headers: compared before the engine loads it.

SGLang reports success for unknown tensor names, dies of a wrong shape, and never reads a new config, so all
three are refused here. Left out: the values (the parity probe of `arl sync` checks those). No torch.
"""

import json
from pathlib import Path
from typing import Any

from arl.errors import ArlError

MODEL_FILE = "weights.json"  # in the state folder: the signature of what the engine was started with
# What changes the numbers without changing a shape. Writers leave some of it out, so only common keys count.
CONFIG = (
    "architectures", "dtype", "head_dim", "hidden_act", "num_attention_heads", "num_key_value_heads",
    "rms_norm_eps", "rope_parameters", "rope_scaling", "rope_theta", "sliding_window", "tie_word_embeddings",
    "use_sliding_window",
)  # fmt: skip
Signature = dict[str, Any]


def signature(llm_dir: Path) -> Signature:
    """{"tensors": {name: shape}, "config": {..}} of a folder, without a tied `lm_head.weight`.

    ArlError: no weights, a broken header, or a tensor the engine would drop without a word.
    """
    files = sorted(llm_dir.glob("*.safetensors"))
    if not files:
        raise ArlError(f"{llm_dir}: no *.safetensors weights; give a policy's llm/ folder")
    shapes: dict[str, list[int]] = {}
    for file in files:
        shapes |= {name: entry["shape"] for name, entry in _header(file).items() if name != "__metadata__"}
    config = read_config(llm_dir)
    if config.get("tie_word_embeddings"):
        shapes.pop("lm_head.weight", None)  # some writers save the tied copy, some do not
    if "lm_head.bias" in shapes:
        raise ArlError(f"{llm_dir}: SGLang ignores lm_head.bias; export the model without an output bias")
    return {"tensors": shapes, "config": {key: config[key] for key in CONFIG if key in config}}


def check_same(served: Signature, llm_dir: Path) -> None:
    """ArlError naming the first tensor or setting in which the folder differs from what the engine serves."""
    offered = signature(llm_dir)
    ours, theirs = offered["tensors"], served["tensors"]
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise _other_model(llm_dir, f"tensor {name}", _shape(ours.get(name)), _shape(theirs.get(name)))
    ours, theirs = offered["config"], served["config"]
    for key in sorted(ours.keys() & theirs.keys()):
        if ours[key] != theirs[key]:
            raise _other_model(llm_dir, f"config.json's {key}", repr(ours[key]), repr(theirs[key]))


def _other_model(llm_dir: Path, what: str, here: str, there: str) -> ArlError:
    return ArlError(
        f"{llm_dir}: {what} is {here}, the engine serves {there} and keeps its weights; "
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
