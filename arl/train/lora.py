"""Low-rank adapters (LoRA, Hu 2022) through peft: y = W x + (alpha / rank) · B A x, with W frozen.

    attach(model, LoraSpec(rank=16, alpha=32), seed=0); ...; save_adapter(folder / "adapter", model, spec)
    with without_adapter(model): ...      # the base alone: the reference of the KL, in no memory of its own

A and B are float32 (float64 on float64 weights) whatever the base has, so that small steps are not lost. A begins at
random from the seed and B at zero: a fresh adapter changes nothing. peft puts its layers in the place of the decoder's
own, so the model stays the class that it is, and shared-prefix passes, checkpointing and the rest see no difference.
The head and the embeddings are no targets: the head is computed in chunks from its weight alone (logprobs.py), where
an adapter on it would be left out, and embeddings are looked up. Left out: merging (arl/adapter.py).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arl.adapter import CONFIG, WEIGHTS
from arl.errors import ArlError, UsageError
from arl.policy import Policy
from arl.runtime.model_cache import MODEL_CACHE
from arl.train import load
from arl.train.decoder import layers_of
from arl.train.finite import refuse_not_finite
from arl.train.world import ALONE, World

NAME = "default"  # peft's name for the one adapter
PREFIX = "base_model.model."  # of the names in peft's files


@dataclass(frozen=True)
class LoraSpec:
    """targets: last parts of the names of linear layers ("q_proj"); none: all of the decoder's blocks."""

    rank: int
    alpha: int
    targets: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> "LoraSpec | None":
        """That of a policy's adapter. ArlError for a damaged configuration."""
        if policy.adapter_dir is None:
            return None
        path = policy.adapter_dir / CONFIG
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(fields["r"]), int(fields["lora_alpha"]), tuple(sorted(fields["target_modules"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArlError(f"{path}: missing or damaged ({error!r}): take the policy from its source again") from error


def adapted_llm(policy: Policy, spec: LoraSpec, seed: int, device: torch.device) -> Any:
    """A policy's LLM with its adapter, or with a fresh one, which alone has gradients; from the model cache, or read.

    An adapter's files name it in the cache: the base below it has been verified by its digest, like any policy.
    """
    kept = MODEL_CACHE.pop(policy.adapter_dir) if policy.adapter_dir is not None else None
    if kept is not None:
        return kept.to(device)
    model = load.llm(policy.llm_dir, device)
    attach(model, spec, seed)
    if policy.adapter_dir is not None:
        read_adapter(model, policy.adapter_dir)
    return model


def start_llm(policy: Policy, device: torch.device) -> Any:
    """A policy's LLM for scoring, read from its folder, with its adapter if it has one."""
    model, spec = load.load_llm(policy.llm_dir, device), LoraSpec.of(policy)
    if spec is not None and policy.adapter_dir is not None:
        attach(model, spec, seed=0)
        read_adapter(model, policy.adapter_dir)
    return model


def attach(model: Any, spec: LoraSpec, seed: int) -> None:
    """Freezes a model and puts a fresh adapter into it. UsageError for targets that it has not."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name in linear_layers(model) if is_target(name, spec.targets)]
    odd = [target for target in spec.targets if not any(is_target(name, [target]) for name in targets)]
    if odd or not targets:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear_layers(model)}))
        raise UsageError(f"--lora-targets {','.join(odd)}: none of the linear layers of the decoder: {known}")
    model.requires_grad_(False)
    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=targets, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, NAME)
    for parameter in adapter_parameters(model).values():
        parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))


def linear_layers(model: Any) -> list[str]:
    """Names of the linear layers in the decoder's blocks. ArlError where the blocks are not to be found."""
    blocks = layers_of(model)
    if not blocks:
        raise ArlError(f"--lora-rank: this {model.config.model_type} does not list its blocks as layers: leave it out")
    inside = {id(module) for block in blocks for module in block.modules()}
    return [name for name, m in model.named_modules() if type(m) is nn.Linear and id(m) in inside]


def is_target(name: str, targets: Sequence[str]) -> bool:
    """Whether a layer is among the targets; no targets: any is."""
    return not targets or any(f".{name}".endswith(f".{target}") for target in targets)


def adapter_layers(model: nn.Module) -> dict[str, Any]:
    """The layers with an adapter, by name; none in a plain model."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """A [rank, in] and B [out, rank] of every layer with an adapter, by the names of peft's files."""
    return {
        f"{PREFIX}{name}.lora_{kind}.weight": getattr(layer, f"lora_{kind}")[NAME].weight
        for name, layer in adapter_layers(model).items()
        for kind in "AB"
    }


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """Has a model compute as its base does, without gradients; a plain model is left alone."""
    layers = list(adapter_layers(model).values())
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_adapter(folder: Path, model: nn.Module, spec: LoraSpec, world: World = ALONE) -> None:
    """Writes an adapter as peft does. The targets are written by the last parts of their names. Of several processes
    every one calls it, and the first one writes."""
    tensors: dict[str, Tensor] = {
        name: world.whole(p.detach()).cpu().contiguous() for name, p in adapter_parameters(model).items()
    }
    if not world.is_first:
        return
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    fields = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "r": spec.rank,
        "lora_alpha": spec.alpha, "target_modules": sorted(spec.targets or short_names(adapter_layers(model))),
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")


def short_names(layers: Sequence[str] | dict[str, Any]) -> set[str]:
    """The last parts of layers' names."""
    return {name.rpartition(".")[2] for name in layers}


@torch.no_grad()
def read_adapter(model: nn.Module, folder: Path) -> None:
    """Gives a model the adapter of a folder. ArlError where its tensors are not those of the model."""
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, ValueError) as error:
        why = load.first_line(error)
        raise ArlError(f"{folder / WEIGHTS}: missing or damaged ({why}): {load.SOURCE_AGAIN}") from error
    named = adapter_parameters(model)
    for name in sorted(named.keys() | tensors.keys()):
        if name not in named or name not in tensors or named[name].shape != tensors[name].shape:
            raise ArlError(f"{folder}: tensor {name} is not that of its adapter_config.json: {load.SOURCE_AGAIN}")
        named[name].copy_(tensors[name])
    refuse_not_finite(tensors.items(), str(folder), load.SOURCE_AGAIN)
