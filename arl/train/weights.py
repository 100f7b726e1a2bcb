"""The LLM's weights as transformers' plain safetensors, whoever holds them.

One process has transformers write them. Several, each of which has some rows of every weight, gather them: the first
one writes all, or, of large weights, every process some of the files that transformers would cut them into.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from arl.shards.durable import sync
from arl.train.world import World

FILE_BYTES = 5_000_000_000  # of weights; more are several files, where several processes write
INDEX = "model.safetensors.index.json"


def save_llm(model: Any, folder: Path, world: World) -> None:
    """Writes weights, configuration and generation configuration. Every process calls it, for the same folder."""
    if world.size == 1:
        model.save_pretrained(folder)
        return
    weights = unique_weights(model)
    files, index = split_in_files(model, weights)
    if len(files) == 1:
        whole = gather(weights, list(weights), 0, world)
        if world.is_first:
            model.save_pretrained(folder, state_dict=whole)
        return
    if world.is_first:
        model.save_pretrained(folder, state_dict={})  # the configurations; it would remove other files of weights
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    own = {name: gather(weights, names, i % world.size, world) for i, (name, names) in enumerate(files.items())}
    for name, tensors in own.items():
        if tensors:
            save_file(tensors, folder / name, metadata={"format": "pt"})
            sync(folder / name)


def unique_weights(model: Any) -> dict[str, Tensor]:
    """By name what a checkpoint holds: a weight with two names by its first."""
    names = {name for name, _ in model.named_parameters()}
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - names
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def split_in_files(model: Any, weights: dict[str, Tensor]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """(the names in each file, the index). One file where transformers has to convert weights for their checkpoint."""
    from huggingface_hub import split_torch_state_dict_into_shards

    shapes = {name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for name, tensor in weights.items()}
    largest = FILE_BYTES if not getattr(model, "_weight_conversions", None) else sum(t.nbytes for t in shapes.values())
    split = split_torch_state_dict_into_shards(
        shapes, filename_pattern="model{suffix}.safetensors", max_shard_size=largest
    )
    metadata = {"total_parameters": model.num_parameters(), **split.metadata}
    return split.filename_to_tensors, {"metadata": metadata, "weight_map": split.tensor_to_filename}


def gather(weights: dict[str, Tensor], names: Sequence[str], writer: int, world: World) -> dict[str, Tensor]:
    """The whole weights of these names, in host memory, for the process that writes them; {} for the others."""
    found = {}
    for name in names:
        whole = world.whole(weights[name])
        if writer == world.rank:
            found[name] = whole.cpu().contiguous()
    return found
