"""Llasa (arXiv 2502.04128): a Llama over X-Codec 2's 65,536 codes, 50 a second at 16 kHz.

Its stop token is not the tokenizer's end of a turn.
"""

from typing import TYPE_CHECKING, Any

from arl.models import Family
from arl.models.codec_lm.family import CodecLm

if TYPE_CHECKING:
    import torch

ASKED = "Convert the text to speech:<|TEXT_UNDERSTANDING_START|>{text}<|TEXT_UNDERSTANDING_END|>"


class Llasa(CodecLm):
    name, takes, types = "llasa", "Llasa", ("llama",)
    code, end = "<|s_{}|>", "<|SPEECH_GENERATION_END|>"
    codec, codec_type, rate_hz = "Xcodec2Model", "xcodec2", 50.0
    turns = ("user", ASKED), ("assistant", "<|SPEECH_GENERATION_START|>")
    longest = 2048

    def waves(self, codec: Any, codes: "torch.Tensor") -> "torch.Tensor":
        return codec.decode(codes[:, None]).audio_values.flatten(1)


FAMILY: Family = Llasa()
