"""Qwen2-Audio (`Qwen/Qwen2-Audio-7B-Instruct`): Whisper's tower, Qwen2; 25 embeddings a second, clips of up to 30 s.

The processor cuts longer audio in silence, so longer clips are refused. For the base model give `--instruction` the
whole prompt: "<|audio_bos|><|AUDIO|><|audio_eos|>Detect the language and recognize the speech: <|en|>".
"""

from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import ChatLm


class Qwen2Audio(ChatLm):
    name, takes, types = "qwen2-audio", "Qwen2-Audio", ("qwen2_audio",)
    model, processor = "Qwen2AudioForConditionalGeneration", "Qwen2AudioProcessor"

    def longest_s(self, processor: Any) -> float:
        return float(processor.feature_extractor.chunk_length)


FAMILY: Family = Qwen2Audio()
