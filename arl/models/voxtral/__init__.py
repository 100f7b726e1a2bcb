"""Voxtral (`mistralai/Voxtral-Mini-3B-2507`): Whisper's tower in windows of 30 s, Llama; 12.5 embeddings a second.

Each clip is padded to whole windows, so a short one has 375 embeddings too. The prompt is Mistral's own request for
transcription, with a language or none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm
from arl.models.speech_lm.prompt import Ask

if TYPE_CHECKING:
    import numpy as np


class Voxtral(SpeechLm):
    name, takes, types = "voxtral", "Voxtral", ("voxtral",)
    model, processor = "VoxtralForConditionalGeneration", "VoxtralProcessor"
    takes_instruction, takes_language = False, True

    def inputs(self, processor: Any, wave: "np.ndarray", ask: Ask) -> Mapping[str, Any]:
        return processor.apply_transcription_request(
            [wave], model_id=self.name, language=ask.language, format="wav",
            sampling_rate=processor.feature_extractor.sampling_rate,
        )  # fmt: skip


FAMILY: Family = Voxtral()
