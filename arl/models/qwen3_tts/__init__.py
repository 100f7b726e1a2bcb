"""Qwen3-TTS at 12 Hz (arXiv 2601.15621): talker, code predictor and codec, from the folder as it is downloaded.

The policy is the talker, over a frame's first code. The frozen code predictor samples the other 15 in the engine
(arl/engine/predictor.py); the shard keeps them, and the trainer has them in its inputs.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.models import DecodeSettings, Encoder, Family, InitOptions, Part, Synthesiser
from arl.models.checkpoint import Checkpoint
from arl.policy import Policy

if TYPE_CHECKING:
    import torch


class Qwen3Tts(Family):
    name, takes = "qwen3-tts", "Qwen3-TTS"
    parts: tuple[Part, ...] = ("checkpoints", "decoder")
    takes_voices = True

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.model_type == "qwen3_tts"

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        return self.computing.build.build(self.name, checkpoint, out, options)

    def export(self, policy: Policy, out: Path) -> None:
        self.computing.export.export(policy, out)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(policy)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.computing.decode.CodecSynthesis(policy, device)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.qwen3_tts import build, decode, encode, export

        return SimpleNamespace(build=build, decode=decode, encode=encode, export=export)


FAMILY: Family = Qwen3Tts()
