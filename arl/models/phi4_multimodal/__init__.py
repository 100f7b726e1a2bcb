"""Phi-4-multimodal as transformers has it (`microsoft/Phi-4-multimodal-instruct@refs/pr/70`): conformer and Phi3,
12.5 embeddings a second.

Its LoRA for speech (`speech-lora/`) is merged into `llm/`, and `arl export` takes it out again.
"""

from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import ChatLm


class Phi4Multimodal(ChatLm):
    name, takes, types = "phi-4-multimodal", "Phi-4-multimodal", ("phi4_multimodal",)
    model, processor = "Phi4MultimodalForCausalLM", "Phi4MultimodalProcessor"
    text_type, captured, adapter = "phi3", "norm", "speech-lora"
    not_text = ("model.embed_tokens_extend.",)
    instruction = "Transcribe the audio clip into text."
    unused = {"vision_config": "num_hidden_layers"}

    def content(self, processor: Any, said: str) -> str:
        return processor.audio_token + said

    def audio_token_id(self, config: Any) -> int:
        return int(config.audio_config.audio_token_id)


FAMILY: Family = Phi4Multimodal()
