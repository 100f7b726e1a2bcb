"""NeuTTS Air and Nano: a small LM over NeuCodec's 65,536 codes, 50 a second at 24 kHz. It reads phonemes.

The prompt is that of upstream's `neutts/neutts.py`; without a voice, that of its fine-tuning.
"""

from arl.models import Family
from arl.models.codec_lm.family import CodecLm
from arl.models.neutts.espeak import phonemes


class NeuTts(CodecLm):
    name, takes, types = "neutts", "NeuTTS", ("qwen2", "llama", "qwen3")
    codes, ends = ("<|speech_{}|>",), ("<|SPEECH_GENERATION_END|>",)
    codec = "neucodec"
    template = (
        "user: Convert the text to speech:<|TEXT_PROMPT_START|>{text}<|TEXT_PROMPT_END|>\n"
        "assistant:<|SPEECH_GENERATION_START|>"
    )
    joint = " "
    longest = 2048
    language = "en-us"

    def words(self, text: str, language: str) -> str:
        return phonemes(text, language)


FAMILY: Family = NeuTts()
