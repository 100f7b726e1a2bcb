"""Qwen2, Qwen3 and Llama with precomputed audio embeddings in the prompt (imported by SGLang).

Weight names stay those of the plain text LM, so the trainer's checkpoint loads as it is. Text embeddings
come from the served weights, audio embeddings from the request. Left out: an audio encoder (the tower is
frozen and its output is a shard) and models with extra inputs per position.
"""

from typing import Any

import torch
from sglang.srt.managers.mm_utils import pad_mm_tokens, prepare_mm_inputs
from sglang.srt.managers.schedule_batch import Modality
from sglang.srt.models.llama import LlamaForCausalLM
from sglang.srt.models.qwen2 import Qwen2ForCausalLM
from sglang.srt.models.qwen3 import Qwen3ForCausalLM


def _no_encoder(items: list) -> torch.Tensor:
    raise RuntimeError("arl's models take precomputed audio embeddings only")


class AudioPrompt:
    """Mix-in: replaces the embeddings at audio positions before the LM's own forward."""

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


class ArlQwen2ForCausalLM(AudioPrompt, Qwen2ForCausalLM):
    pass


class ArlQwen3ForCausalLM(AudioPrompt, Qwen3ForCausalLM):
    pass


class ArlLlamaForCausalLM(AudioPrompt, LlamaForCausalLM):
    pass


EntryClass = [ArlQwen2ForCausalLM, ArlQwen3ForCausalLM, ArlLlamaForCausalLM]
