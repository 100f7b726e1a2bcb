"""Llasa (arXiv 2502.04128): a Llama over X-Codec 2's 65,536 codes, 50 a second at 16 kHz.

Its stop token is not the tokenizer's end of a turn. A voice's transcript and the text are put together as they are, as
upstream does, so a transcript of a language with spaces ends in one.
"""

from arl.models import Family
from arl.models.codec_lm.family import CodecLm

ASKED = "Convert the text to speech:<|TEXT_UNDERSTANDING_START|>{text}<|TEXT_UNDERSTANDING_END|>"


class Llasa(CodecLm):
    name, takes, types = "llasa", "Llasa", ("llama",)
    codes, ends = ("<|s_{}|>",), ("<|SPEECH_GENERATION_END|>",)
    codec = "xcodec2"
    turns = ("user", ASKED), ("assistant", "<|SPEECH_GENERATION_START|>")
    longest = 2048


FAMILY: Family = Llasa()
