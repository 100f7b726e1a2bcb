"""Granite Speech (`ibm-granite/granite-speech-3.3-2b`): conformer and Q-Former, Granite;
10 embeddings a second.

The 3.3 models have a LoRA for speech beside the LLM: it is merged into `llm/`, and `arl export` takes it out again.
The logits are scaled as Granite's own class does (`logits_scaling`).
"""

from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import ChatLm


class GraniteSpeech(ChatLm):
    name, takes, types = "granite-speech", "Granite Speech", ("granite_speech",)
    model, processor = "GraniteSpeechForConditionalGeneration", "GraniteSpeechProcessor"
    adapter = ""
    instruction = "can you transcribe the speech into a written format?"
    takes_hotwords = True

    def content(self, processor: Any, said: str) -> str:
        return processor.audio_token + said


FAMILY: Family = GraniteSpeech()
