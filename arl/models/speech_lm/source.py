"""The files of a checkpoint: a local folder, or a hub name through the hub's own cache.

Weights are safetensors only, in one file or in shards with an index. Nothing else of a checkpoint is run or unpickled.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from arl.errors import ArlError
from arl.models.checkpoint import Checkpoint
from arl.models.speech_lm.tensors import Stored, read_tensors

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = "pytorch_model*.bin", "*.pth", "model*.pt", "*.ckpt", "consolidated*.pt"
OTHER_WEIGHTS = *PICKLES, "consolidated*.safetensors", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "*.bin"  # same, again


@dataclass(frozen=True)
class Source:
    """A checkpoint's folder. revision: the hub's commit, "" for a local folder."""

    folder: Path
    name: str
    revision: str

    @property
    def shards(self) -> list[Path]:
        """The files with the weights. ArlError for pickles, and where a file is missing."""
        index = self.folder / INDEX
        if index.is_file():
            names = sorted(set(_weight_map(index).values()))
        elif (self.folder / SINGLE).is_file():
            names = [SINGLE]
        else:
            raise ArlError(f"{self.name}: {self._no_weights()}")
        if outside := [name for name in names if Path(name).name != name]:
            raise ArlError(f"{index}: names a file outside of the folder: {outside[0]}")
        if missing := [name for name in names if not (self.folder / name).is_file()]:
            raise ArlError(f"{self.name}: {missing[0]} is missing, and {INDEX} names it: fetch the checkpoint again")
        return [self.folder / name for name in names]

    def tensors(self) -> list[Stored]:
        """All tensors, shard by shard. ArlError where index and shards differ."""
        found = [tensor for shard in self.shards for tensor in read_tensors(shard)]
        index = self.folder / INDEX
        if index.is_file():
            said, there = _weight_map(index), {tensor.name: tensor.file.name for tensor in found}
            if odd := sorted(said.items() ^ there.items()):
                raise ArlError(f"{self.name}: {INDEX} and the shards differ, first at tensor {odd[0][0]}")
        names = [tensor.name for tensor in found]
        if len(set(names)) != len(names):
            raise ArlError(f"{self.name}: a tensor lies in two shards")
        return found

    def left_out(self) -> list[str]:
        """Files with the same weights in another form: they would be those of before the training."""
        shards = {shard.name for shard in self.shards}
        names = sorted(file.name for file in self.folder.iterdir() if file.is_file() and file.name not in shards)
        return [name for name in names if any(fnmatch(name, pattern) for pattern in OTHER_WEIGHTS)]

    def other_files(self) -> Iterator[Path]:
        """What is not weights, as paths in the folder: configuration, tokenizer, processor, adapters, readme."""
        shards = {shard.name for shard in self.shards}
        for file in sorted(self.folder.rglob("*")):
            place = file.relative_to(self.folder)
            if file.is_dir() or any(part.startswith(".") for part in place.parts[:-1]) or place.name in shards:
                continue
            if not any(fnmatch(place.name, pattern) for pattern in OTHER_WEIGHTS):
                yield place

    def _no_weights(self) -> str:
        if any(fnmatch(file.name, pattern) for file in self.folder.iterdir() for pattern in PICKLES):
            return ("its weights are pickles, which can run code when they are read: convert them to safetensors "
                    "(transformers' save_pretrained) or take the revision that has them")  # fmt: skip
        return f"no {SINGLE} and no {INDEX} there"


def find(checkpoint: Checkpoint) -> Source:
    """The checkpoint on this disk; one of the hub is fetched into the hub's cache. ArlError when it cannot be."""
    if checkpoint.folder is not None:
        return Source(checkpoint.folder, checkpoint.source, "")
    name, revision = checkpoint.on_hub
    wanted: dict[str, Any] = {"revision": revision, "ignore_patterns": list(OTHER_WEIGHTS)}
    try:
        try:
            folder = Path(snapshot_download(name, **wanted))
        except (OSError, HfHubHTTPError):  # no network, or told to use none
            folder = Path(snapshot_download(name, **wanted, local_files_only=True))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ArlError(f"{checkpoint.source}: cannot be fetched from the hub ({str(error).splitlines()[0]})") from error
    return Source(folder, checkpoint.source, folder.name)


def refuse_full_disk(out: Path, n_bytes: int) -> None:
    """ArlError where `out` has no room for `n_bytes` more."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < n_bytes:
        raise ArlError(f"{out}: needs {n_bytes / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free")


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(file) for name, file in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArlError(f"{index}: damaged ({error!r}): fetch it again") from error
