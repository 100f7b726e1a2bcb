"""A policy → the checkpoint in its family's own layout: the files as they were, with the trained LLM in its place.

Every shard is written with the header it had, so an untrained policy gives the same bytes. A trained weight is
rounded to the dtype that the checkpoint has for it.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from arl.adapter import Adapter
from arl.errors import ArlError
from arl.models.speech_lm.build import CHECKPOINT, LAYOUT
from arl.models.speech_lm.layout import HEAD, TABLE
from arl.models.speech_lm.memory import load, raw_bytes
from arl.models.speech_lm.source import refuse_full_disk
from arl.models.speech_lm.tensors import Stored, read_tensors, write_with_header
from arl.policy import Policy
from arl.shards.columns import DTYPES
from arl.shards.durable import write_folder


@dataclass(frozen=True)
class TrainedLlm:
    """The tensors of `llm/` by name. A head that is tied is the table."""

    files: dict[str, Path]

    @classmethod
    def of(cls, policy: Policy) -> "TrainedLlm":
        return cls({t.name: file for file in sorted(policy.llm_dir.glob("*.safetensors")) for t in read_tensors(file)})

    def tensor(self, name: str) -> torch.Tensor:
        name = TABLE if name == HEAD and name not in self.files else name
        if name not in self.files:
            raise ArlError(f"the policy's llm/ has no tensor {name}")
        with safe_open(self.files[name], "pt") as weights:
            return weights.get_tensor(name)


def export(policy: Policy, out: Path) -> None:
    """Writes the folder. ArlError where the LLM has other tensors than the checkpoint."""
    folder = policy.frontend_dir / CHECKPOINT
    saved = json.loads((policy.frontend_dir / LAYOUT).read_text(encoding="utf-8"))
    headers = {name: _rows(text) for name, text in saved["headers"].items()}
    refuse_full_disk(out, sum(rows[-1][1]["data_offsets"][1] for rows in headers.values() if rows))
    adapter = Adapter.from_json(saved["adapter"], folder) if "adapter" in saved else None
    llm = TrainedLlm.of(policy)

    def contents(tensor: str, row: dict[str, Any], kept: Mapping[str, Stored]) -> Iterable[bytes]:
        plain = saved["llm"].get(tensor)
        if plain is None:
            return kept[tensor].blocks()
        trained = llm.tensor(plain)
        if adapter is not None and plain in adapter.factors:
            trained = adapter.unmerged(plain, trained, load(kept[tensor]))
        return _as_stored(tensor, trained, row)

    def fill(target: Path) -> None:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.relative_to(folder).as_posix() not in headers:
                shutil.copyfile(file, place)
        for name, rows in headers.items():
            kept = {t.name: t for t in read_tensors(folder / name)} if (folder / name).is_file() else {}
            pieces = (contents(tensor, row, kept) for tensor, row in rows)
            write_with_header(target / name, saved["headers"][name], pieces)

    write_folder(out, fill)


def _rows(header: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, row of the header), in the order of the bytes."""
    fields = json.loads(header)
    fields.pop("__metadata__", None)
    return sorted(fields.items(), key=lambda item: item[1]["data_offsets"])


def _as_stored(name: str, tensor: torch.Tensor, row: Mapping[str, Any]) -> Iterable[bytes]:
    """The bytes of a trained tensor in the checkpoint's dtype."""
    if list(tensor.shape) != row["shape"]:
        raise ArlError(f"tensor {name} is {list(tensor.shape)} in llm/, and {row['shape']} in the checkpoint")
    return [raw_bytes(tensor.to(getattr(torch, DTYPES[row["dtype"]][0])))]
