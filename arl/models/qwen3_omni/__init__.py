"""The thinker of Qwen3-Omni (`Qwen/Qwen3-Omni-30B-A3B-Instruct`): Qwen3-MoE, 13 embeddings a second.

As Qwen2.5-Omni: talker, code2wav and the vision tower stay in `frontend/`, and go back out with `arl export`.
"""

from arl.models import Family
from arl.models.qwen2_5_omni import Qwen25Omni


class Qwen3Omni(Qwen25Omni):
    name, takes, types = "qwen3-omni", "Qwen3-Omni", ("qwen3_omni_moe",)
    model, processor = "Qwen3OmniMoeThinkerForConditionalGeneration", "Qwen3OmniMoeProcessor"
    text_type = "qwen3_moe"
    instruction = "Transcribe the audio into text."
    system = ""


FAMILY: Family = Qwen3Omni()
