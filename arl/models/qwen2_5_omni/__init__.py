"""The thinker of Qwen2.5-Omni (`Qwen/Qwen2.5-Omni-7B`): audio in, text out; Qwen2, 25 embeddings a second.

The talker, the vocoder and the vision tower stay in `frontend/`, untouched, and go back out with `arl export`. With
audio and text alone the three rows of positions are equal, so the LLM is a plain Qwen2.
"""

from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import ChatLm


class Qwen25Omni(ChatLm):
    name, takes, types = "qwen2.5-omni", "Qwen2.5-Omni", ("qwen2_5_omni",)
    model, processor = "Qwen2_5OmniThinkerForConditionalGeneration", "Qwen2_5OmniProcessor"
    key, prefix, text_type = "thinker_config", "thinker.", "qwen2"
    unused = {"vision_config": "depth"}
    system = "You are a speech recognition model."
    instruction = "Transcribe the audio into text without any punctuation marks."

    def longest_s(self, processor: Any) -> float:
        return float(processor.feature_extractor.chunk_length)


FAMILY: Family = Qwen25Omni()
