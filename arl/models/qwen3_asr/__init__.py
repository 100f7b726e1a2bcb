"""Qwen3-ASR as transformers has it (`Qwen/Qwen3-ASR-1.7B-hf`): a windowed tower, Qwen3; 13 embeddings a second.

Without a language the model writes `language English<asr_text>` in front; with one the prompt ends with that.
Hotwords and the instruction are the system turn, as in the model's own requests.
"""

from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm
from arl.models.speech_lm.prompt import Ask


class Qwen3Asr(SpeechLm):
    name, takes, types = "qwen3-asr", "Qwen3-ASR", ("qwen3_asr",)
    model, processor = "Qwen3ASRForConditionalGeneration", "Qwen3ASRProcessor"
    transcript = {"after": "<asr_text>"}
    takes_language = takes_hotwords = True

    def request(self, ask: Ask) -> dict[str, Any]:
        context = " ".join(filter(None, [ask.instruction, *ask.keywords]))
        return {"prompt": context or None, "language": ask.language}


FAMILY: Family = Qwen3Asr()
