"""VibeVoice-ASR (`microsoft/VibeVoice-ASR-HF`): two speech tokenizers at 24 kHz, Qwen2; 7.5 embeddings a second.

Its latents are drawn at random, with a seed of the utterance's key. The prompt says how long the clip is. It writes
JSON with times and speakers; the transcript is the contents.
"""

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm


class VibeVoiceAsr(SpeechLm):
    name, takes, types = "vibevoice-asr", "VibeVoice-ASR", ("vibevoice_asr",)
    model, processor = "VibeVoiceAsrForConditionalGeneration", "VibeVoiceAsrProcessor"
    transcript = {"json": "Content"}

    def longest_s(self, processor: object) -> float:
        return 3600.0


FAMILY: Family = VibeVoiceAsr()
