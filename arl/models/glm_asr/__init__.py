"""GLM-ASR (`zai-org/GLM-ASR-Nano-2512`): a Whisper-like tower in windows of 30 s, Llama; 12.5 embeddings a second."""

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm


class GlmAsr(SpeechLm):
    name, takes, types = "glm-asr", "GLM-ASR", ("glmasr",)
    model, processor = "GlmAsrForConditionalGeneration", "GlmAsrProcessor"


FAMILY: Family = GlmAsr()
