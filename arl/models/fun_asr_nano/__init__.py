"""Fun-ASR-Nano as transformers has it (`FunAudioLLM/Fun-ASR-Nano-2512-hf`): SAN-M tower, Qwen3; 17 embeddings a second.

Languages: zh, en, ja. Keywords go into the prompt as the model's hotwords. transformers keeps every frame of the
projector, and so does the policy; FunASR's own runtime keeps the first eighth, which `"use_low_frame_rate": true` in
`adaptor_config` of config.json, written there before `arl init`, asks for.
"""

from collections.abc import Mapping
from typing import Any

from arl.models import Family
from arl.models.speech_lm.family import SpeechLm
from arl.models.speech_lm.prompt import Ask


class FunAsrNano(SpeechLm):
    name, takes, types = "fun-asr-nano", "Fun-ASR-Nano", ("fun_asr_nano",)
    model, processor = "FunAsrNanoForConditionalGeneration", "FunAsrNanoProcessor"
    takes_language = takes_hotwords = True

    def request(self, ask: Ask) -> dict[str, Any]:
        keywords = list(ask.keywords) or None
        return {"prompt": ask.instruction, "language": ask.language, "keywords": keywords}

    def kept(self, fields: Mapping[str, Any], frames: int) -> int:
        return -(-frames // 8) if fields.get("adaptor_config", {}).get("use_low_frame_rate") else frames


FAMILY: Family = FunAsrNano()
