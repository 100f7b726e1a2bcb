"""A policy → the folder that `arl init` has read, with the trained talker in it.

Every shard has the header it had: untrained, the bytes are the same; a trained weight is rounded to the dtype that the
checkpoint has. Of the talker's tables the rows of codes and of the end are the policy's, the others as they were.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from arl.engine.predictor import WEIGHTS
from arl.models.qwen3_tts.build import CHECKPOINT, LAYOUT
from arl.models.qwen3_tts.layout import PREDICTOR, ROWS, Sizes, plain_name
from arl.models.speech_lm.memory import load, raw_bytes
from arl.models.speech_lm.source import refuse_full_disk
from arl.models.speech_lm.tensors import read_tensors, write_with_header
from arl.policy import Policy
from arl.shards.columns import DTYPES
from arl.shards.durable import write_folder


def export(policy: Policy, out: Path) -> None:
    """Writes the folder, whole or not at all."""
    folder = policy.frontend_dir / CHECKPOINT
    headers = json.loads((policy.frontend_dir / LAYOUT).read_text(encoding="utf-8"))["headers"]
    refuse_full_disk(out, sum(file.stat().st_size for file in policy.path.rglob("*") if file.is_file()))

    def fill(target: Path) -> None:
        tensors = Tensors(policy)
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            place = target / file.relative_to(folder)
            if file.relative_to(folder).as_posix() not in headers:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        for name, header in headers.items():
            write_with_header(target / name, header, (tensors.blocks(*row) for row in rows_of(header)))

    write_folder(out, fill)


def rows_of(header: str) -> list[tuple[str, torch.dtype]]:
    """(name, dtype) of the tensors of a header, in the order of their bytes."""
    rows = json.loads(header)
    rows.pop("__metadata__", None)
    ordered = sorted(rows.items(), key=lambda item: item[1]["data_offsets"])
    return [(name, getattr(torch, DTYPES[row["dtype"]][0])) for name, row in ordered]


class Tensors:
    """The checkpoint's tensors by their names there, wherever the policy has them."""

    def __init__(self, policy: Policy) -> None:
        folder = policy.frontend_dir / CHECKPOINT
        self.rows = Sizes.read(folder).rows
        self.kept = {t.name: t for file in sorted(folder.glob("*.safetensors")) for t in read_tensors(file)}
        self.predictor = {PREDICTOR + t.name: t for t in read_tensors(policy.frontend_dir / WEIGHTS)}
        self.llm = {t.name: t for file in sorted(policy.llm_dir.glob("*.safetensors")) for t in read_tensors(file)}

    def blocks(self, name: str, dtype: torch.dtype) -> Iterable[bytes]:
        """The bytes of one tensor."""
        plain = plain_name(name)
        if plain is None:
            return (self.predictor.get(name) or self.kept[name]).blocks()
        trained = load(self.llm[plain]).to(dtype)
        if name not in ROWS:
            return [raw_bytes(trained)]
        table = load(self.kept[name])
        table[self.rows] = trained
        return [raw_bytes(table)]
