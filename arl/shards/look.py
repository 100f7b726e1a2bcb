"""What a shard, a sample and a member look like to a person or a program: for `arl ls` and `arl cat`.

shard_row(Path("emb/000003.tar"))["samples"]
json_line({"key": sample.key, **{name: describe(sample, name) for name in sample.members}})
"""

import json
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.columns import META, tensor_headers
from arl.shards.npy import npy_header
from arl.shards.reader import Sample, scan_shard
from arl.shards.rows import TOO_DEEP, is_deep, is_number


def shard_row(path: Path) -> dict[str, Any]:
    """What `arl ls` says of one shard; figures are null when it is damaged, seconds also when no sample knows them."""
    samples, known, members = 0, list[float](), dict[str, None]()
    try:
        for sample in scan_shard(path, wanted=lambda extension: extension == META):
            samples += 1
            members |= dict.fromkeys(sample.offsets)
            fields = sample.json(META) if META in sample.members else None
            duration = fields.get("duration_s") if isinstance(fields, dict) else None
            if is_number(duration):
                known.append(duration)
    except ArlError as error:
        nothing = dict.fromkeys(("samples", "seconds", "members"))
        return {"path": str(path), **nothing, "state": "damaged", "problem": str(error)}
    found = {"samples": samples, "seconds": round(sum(known), 3) if known else None, "members": list(members)}
    return {"path": str(path), **found, "state": "whole", "problem": None}


def describe(sample: Sample, extension: str) -> Any:
    """A member as JSON can show it: itself, a tensor's {dtype, shape} by name, a text, or {bytes}."""
    data, kind = sample.members[extension], extension.rpartition(".")[2]
    if kind == "json":
        value = sample.json(extension)
        if is_deep(value):
            raise ArlError(f"{sample.where}: {extension}: {TOO_DEEP}; write it again")
        return value
    if kind == "safetensors":
        headers = tensor_headers(sample, extension)
        return {name: {"dtype": tensor.dtype, "shape": list(tensor.shape)} for name, tensor in headers.items()}
    if kind == "npy":
        dtype, shape = npy_header(sample, extension)
        return {"dtype": dtype, "shape": list(shape)}
    if kind == "txt":
        return data.decode(errors="replace")
    return {"bytes": len(data)}


def json_line(value: Any) -> str:
    """One line of JSON, readable where UTF-8 can say it; a lone surrogate stays the escape it was."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if any("\ud800" <= char <= "\udfff" for char in line):
        return json.dumps(value, separators=(",", ":"))
    return line
