"""CosyVoice2-0.5B from the folder as it is downloaded (arXiv 2412.10117)."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from arl.models import DecodeSettings, Family, InitOptions, Synthesiser
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice.family import CosyVoice
from arl.models.cosyvoice.layout import VERSION_2
from arl.policy import Policy

if TYPE_CHECKING:
    import numpy as np
    import torch


class CosyVoice2(CosyVoice):
    name, takes, layout = "cosyvoice2", "CosyVoice2", VERSION_2
    parts = ("checkpoints", "decoder", "voices")
    files = {"voices": "speakers.json"}

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        make = self.computing.build.build
        return make(self.name, self.layout, checkpoint, out, options, self.decoding.write_decoder)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.decoding.CosySynthesis(policy, device, settings)

    def voice_waves(self, frontend: Path) -> "Mapping[str, np.ndarray]":
        return self.decoding.voice_waves(frontend)

    @property
    def decoding(self) -> ModuleType:
        """The module of the decoder, which imports torch."""
        from arl.models.cosyvoice2 import decode

        return decode


FAMILY: Family = CosyVoice2()
