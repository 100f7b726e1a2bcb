"""A Qwen2 LM over acoustic tokens, a flow-matching decoder and a vocoder: speech synthesis of CosyVoice2's kind.

Its parts are trained by examples/tts/; no checkpoint of others becomes a policy of it.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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
        return self.computing.build.restore(slim, out)

    def export_slim(self, policy: Policy, out: Path, dtype: Dtype) -> Policy:
        return self.computing.build.export_slim(policy, out, dtype)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(policy, device)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.computing.decode.FlowSynthesis(policy, device, settings)

    def voice_waves(self, frontend: Path) -> "Mapping[str, np.ndarray]":
        return self.computing.decode.voice_waves(frontend)

    def token_recogniser(self, frontend: Path) -> "TokenAsr":
        return self.computing.recogniser.token_recogniser(self.computing.codec.load(frontend))

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.qwen2_flow import build, codec, decode, encode, recogniser

        return SimpleNamespace(build=build, codec=codec, decode=decode, encode=encode, recogniser=recogniser)


FAMILY: Family = Qwen2Flow()
