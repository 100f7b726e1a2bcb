"""A causal LM of SGLang with precomputed audio embeddings in the prompt (imported by SGLang).

Our class is SGLang's own with a mix-in before it, made for whatever architecture the engine is started for. Weight
names stay those of the plain text LM, so the trainer's checkpoint loads as it is. Text embeddings come from the served
weights, audio embeddings from the request. Left out: an audio encoder (the tower is frozen and its output is a shard),
models with extra inputs per position, and an output bias under tensor parallelism.
"""

import inspect
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import torch
from sglang.srt.managers.mm_utils import pad_mm_tokens, prepare_mm_inputs
from sglang.srt.managers.schedule_batch import Modality

from arl.engine.architectures import sglang_module
from arl.engine.merging import merged
from arl.engine.sglang_models import ARCHITECTURE, HEAD_BIAS, RESIDUALS, our_name
from arl.engine.sglang_models.residual import ResidualCodes

BIAS = "lm_head.bias"  # its name in a checkpoint


def _no_encoder(items: list) -> torch.Tensor:
    raise RuntimeError("arl's models take precomputed audio embeddings only")


def _embed_tokens(model: Any) -> Any:
    """`get_input_embeddings` of a class that has none, as Granite's."""
    return model.model.embed_tokens


class AudioPrompt:
    """Mix-in: replaces the embeddings at audio positions before the LM's own forward, and adds an output bias."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # the LM's
        self._head_bias = None
        if getattr(config, HEAD_BIAS, False):
            add_output_bias(self, config.vocab_size)

    def named_parameters(self, *args: Any, **options: Any) -> Iterator[tuple[str, Any]]:
        """By the names of a checkpoint, also where SGLang has put its layers for adapters around the LM's own: its
        loaders look names up here, and pass over the others without a word."""
        for name, parameter in super().named_parameters(*args, **options):  # type: ignore[misc]
            yield name.replace(".base_layer.", "."), parameter

    def pad_input_ids(self, input_ids: Any, mm_inputs: Any) -> Any:
        # Audio positions get a number made of the clip's hash: the prefix cache tells clips apart by it.
        return pad_mm_tokens(input_ids, mm_inputs)

    @torch.no_grad()
    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        forward_batch: Any,
        input_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """input_ids [tokens], input_embeds [tokens, hidden] or None -> SGLang's logits output."""
        decoding = forward_batch.forward_mode.is_decode()
        if input_embeds is None and not decoding and forward_batch.contains_mm_inputs():
            input_embeds = prepare_mm_inputs(
                input_ids, forward_batch, self, kwargs, data_embedding_funcs={Modality.AUDIO: _no_encoder}
            )
        forward = super().forward  # type: ignore[misc]  # the LM's, next in the resolution order
        return forward(input_ids, positions, forward_batch, input_embeds=input_embeds, **kwargs)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> Any:
        """All but the output bias go to the LM, whose class would skip it without a word, and a policy's adapter is
        added to them."""
        return super().load_weights(self._without_bias(merged(weights)))  # type: ignore[misc]

    def _without_bias(self, weights: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in weights:
            if name == BIAS and self._head_bias is not None:
                self._head_bias.copy_(tensor)
            else:
                yield name, tensor


def add_output_bias(model: Any, vocab_size: int) -> None:
    """Adds a bias [V] to the logits of a model whose class has none, before any scaling, as `nn.Linear` does."""
    plain = model.logits_processor._compute_lm_head
    model._head_bias = bias = torch.zeros(vocab_size)

    def biased(*args: Any, **kwargs: Any) -> torch.Tensor:
        logits = plain(*args, **kwargs)  # [tokens, V or its padded size]
        logits[:, :vocab_size] += bias
        return logits

    model.logits_processor._compute_lm_head = biased


def audio_class(architecture: str) -> type:
    """SGLang's class of this name with the mix-in. ValueError where it cannot take embeddings: it would drop audio."""
    module = sglang_module(architecture)
    if module is None:
        raise ValueError(f"SGLang has no {architecture}")
    base = getattr(import_module(module), architecture)
    if "input_embeds" not in inspect.signature(base.forward).parameters:
        raise ValueError(f"SGLang's {architecture} takes no input embeddings, so that it cannot hear audio")
    lacking = {} if hasattr(base, "get_input_embeddings") else {"get_input_embeddings": _embed_tokens}
    mixed = (ResidualCodes, AudioPrompt, base) if os.environ.get(RESIDUALS) else (AudioPrompt, base)
    return type(our_name(architecture), mixed, {"__module__": __name__, **lacking})


EntryClass = [audio_class(os.environ[ARCHITECTURE])]
