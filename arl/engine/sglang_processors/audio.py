"""Token ids with one placeholder per clip + references -> expanded ids + embeddings (imported by SGLang).

The placeholder is the config's `audio_token_id`; each occurrence becomes T copies that carry the clip's
[T, hidden] rows. Every refusal is a ValueError: SGLang answers 400 and stays alive. Left out: raw audio, and
references in place of rows between SGLang's processes: a scheduler that reads files would die of one that is gone, and
to copy 30 s of a 7B takes 1.6 ms.
"""

from typing import Any

from sglang.srt.managers.schedule_batch import Modality, MultimodalDataItem, MultimodalProcessorOutput
from sglang.srt.multimodal.processors.base_processor import BaseMultimodalProcessor

from arl.engine.reference import load_embedding
from arl.engine.sglang_models.causal_lm import EntryClass


class PrecomputedAudioProcessor(BaseMultimodalProcessor):
    """One instance per server, in the HTTP process."""

    models = list(EntryClass)

    def __init__(self, hf_config: Any, server_args: Any, _processor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(hf_config, server_args, _processor, *args, **kwargs)
        self.audio_token_id = int(hf_config.audio_token_id)
        self.hidden = int(hf_config.hidden_size)

    async def process_mm_data_async(
        self,
        image_data: Any = None,
        audio_data: Any = None,
        input_text: Any = None,
        request_obj: Any = None,
        **kwargs: Any,
    ) -> MultimodalProcessorOutput:
        """Called by SGLang for each request that has audio; `input_text` is its list of token ids."""
        if isinstance(input_text, str):
            raise ValueError("send input_ids: this server has no tokenizer")
        if image_data:
            raise ValueError("this server takes audio embeddings only")
        # The placeholder itself may lie beyond the vocabulary; it is never looked up.
        vocabulary = self.hf_config.vocab_size
        if any(i != self.audio_token_id and not 0 <= i < vocabulary for i in input_text):
            raise ValueError(f"token id outside 0..{vocabulary - 1}")
        clips = [load_embedding(reference, self.hidden) for reference in audio_data]
        if input_text.count(self.audio_token_id) != len(clips):
            raise ValueError(f"{len(clips)} clip(s) need as many placeholders (token {self.audio_token_id})")
        return self._expand(input_text, clips)

    def _expand(self, input_ids: list[int], clips: list) -> MultimodalProcessorOutput:
        expanded: list[int] = []
        items = []
        remaining = iter(clips)
        for token in input_ids:
            if token != self.audio_token_id:
                expanded.append(token)
                continue
            embedding, digest = next(remaining)
            span = (len(expanded), len(expanded) + len(embedding) - 1)
            item = MultimodalDataItem(modality=Modality.AUDIO, offsets=[span], precomputed_embeddings=embedding)
            item.set_identity(digest)
            items.append(item)
            expanded += [token] * len(embedding)
        return MultimodalProcessorOutput(mm_items=items, input_ids=expanded, audio_token_id=self.audio_token_id)
