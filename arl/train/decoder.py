"""How the trainer runs a decoder's layers: only where they are read, recomputed in the backward pass, compiled.

None of it changes what is computed. All of it can be applied again with other settings to a model that stays in
memory between jobs, and nothing of it is saved with the model.
"""

import shutil
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from arl.errors import ArlError

COMPILERS = "g++", "clang++", "c++"


def layers_of(model: Any) -> list[nn.Module]:
    """The decoder's blocks, in order; empty where it does not list them as `layers` or `h`."""
    decoder = model.get_decoder()
    return list(getattr(decoder, "layers", None) or getattr(decoder, "h", None) or [])


def trim_last_layer(model: Any) -> None:
    """The MLP of the last layer skips what nothing reads: of a packed prompt, all positions but the last one.

    A prompt acts on its responses through keys and values, and the last layer makes those before its MLP. Left alone
    where the block is not attention, then an MLP that maps each position by itself.
    """
    layers = layers_of(model)
    attention, mlp = (getattr(layers[-1], name, None) if layers else None for name in ("self_attn", "mlp"))
    if attention is None or mlp is None or "forward" in vars(mlp):
        return
    whole = mlp.forward

    @torch.compiler.disable(recursive=False)
    def forward(hidden: Tensor) -> Any:
        packing = vars(attention).pop("packing", None)  # left there by the attention of the same pass
        if packing is None:
            return whole(hidden)
        part = whole(hidden.index_select(1, packing.read))
        return part.new_zeros(hidden.shape).index_copy(1, packing.read, part)

    mlp.forward = forward


def set_checkpointing(model: Any, is_on: bool) -> None:
    """Activation checkpointing by layer: only a layer's input is kept, the rest is computed again in the backward pass.

    Dropout is off in an update, so that the generator's state need not be kept.
    """
    for layer in layers_of(model):
        if not is_on:
            vars(layer).pop("forward", None)
        elif "forward" not in vars(layer):
            layer.forward = checkpointed(layer.forward)


def checkpointed(forward: Any) -> Any:
    """A layer's forward that keeps its inputs only."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def set_compiled(model: Any, is_on: bool) -> None:
    """torch.compile of each layer around its attention; all layers share what is compiled, for any row length.

    ArlError on a CPU without a C++ compiler, which the compiled code needs.
    """
    if is_on and next(model.parameters()).device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
        raise ArlError("--compile: no C++ compiler on this machine (g++ or clang++): leave the flag out")
    for layer in layers_of(model):
        if not is_on:
            layer._compiled_call_impl = None
        elif layer._compiled_call_impl is None:
            layer.compile(dynamic=True)
