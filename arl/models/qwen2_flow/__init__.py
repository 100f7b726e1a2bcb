"""A Qwen2 LM over acoustic tokens, a flow-matching decoder and a vocoder: speech synthesis of CosyVoice2's kind.

Its parts are trained by examples/tts/; no checkpoint of others becomes a policy of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from arl.models import DecodeSettings, Dtype, Encoder, Family, Synthesiser
from arl.policy import Policy

if TYPE_CHECKING:
    import numpy as np
    import torch

    from arl.models.token_asr.model import TokenAsr


class Qwen2Flow(Family):
    name = "qwen2-flow"
    parts = ("slim", "decoder", "voices", "tokenizer")
    files = {"decoder": "decoder.json", "voices": "voices.json", "tokenizer": "codec.safetensors"}

    def restore(self, slim: Policy, out: Path) -> Policy:
        from arl.models.qwen2_flow import build

        return build.restore(slim, out)

    def export_slim(self, policy: Policy, out: Path, dtype: Dtype) -> Policy:
        from arl.models.qwen2_flow import build

        return build.export_slim(policy, out, dtype)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        from arl.models.qwen2_flow.encode import TextEncoding

        return TextEncoding(policy, device)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        from arl.models.qwen2_flow.decode import FlowSynthesis

        return FlowSynthesis(policy, device, settings)

    def voice_waves(self, frontend: Path) -> "Mapping[str, np.ndarray]":
        from arl.models.qwen2_flow.decode import voice_waves

        return voice_waves(frontend)

    def token_recogniser(self, frontend: Path) -> "TokenAsr":
        from arl.models.qwen2_flow import codec
        from arl.models.qwen2_flow.recogniser import token_recogniser

        return token_recogniser(codec.load(frontend))


FAMILY: Family = Qwen2Flow()
