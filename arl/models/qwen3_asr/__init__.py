"""Qwen3-ASR as transformers has it (`Qwen/Qwen3-ASR-1.7B-hf`): a windowed tower, Qwen3; 13 embeddings a second.

Without a language the model writes `language English<asr_text>` in front; with one the prompt ends so.
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

    def begun(self, language: str | None, other: str = "") -> str:
        """How an answer in a language begins; `other` where the model has no name for it."""
        names = self.transformers.models.qwen3_asr.processing_qwen3_asr.LANGUAGE_CODE_TO_NAME
        if language not in (None, *names) and not other:
            raise ValueError(f"language {language!r} is none of {', '.join(names)}")
        name = names.get(language, other)
        return f"language {name}<asr_text>" if name else ""

    def before(self, ask: Ask) -> str | None:
        return self.begun(ask.spoken, "None") if ask.language is None else None


FAMILY: Family = Qwen3Asr()
