"""The families of CosyVoice: what the commands ask of both versions."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.models import DecodeSettings, Encoder, Family, InitOptions, Part, Synthesiser
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice.layout import Layout
from arl.policy import Policy

if TYPE_CHECKING:
    import numpy as np
    import torch

    from arl.models.cosyvoice.decode import Decoding


class CosyVoice(Family):
    """layout: of the version."""

    takes_voices = True
    parts: tuple[Part, ...] = ("checkpoints", "decoder", "voices")
    files = {"voices": "speakers.json"}
    layout: Layout

    @property
    def decoding(self) -> "Decoding":
        """Of the version; its module imports torch."""
        found: Decoding = import_module(f"arl.models.{self.name}.decode").DECODING
        return found

    def owns(self, part: Part, folder: Path) -> bool:
        return super().owns(part, folder) and (folder / self.layout.recipe).is_file()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.folder is not None and (checkpoint.folder / self.layout.recipe).is_file()

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        make = self.computing.build.build
        return make(self.name, self.layout, checkpoint, out, options, self.decoding.write)

    def export(self, policy: Policy, out: Path) -> None:
        self.computing.export.export(policy, out)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(policy, self.layout)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.computing.decode.CosySynthesis(policy, self.decoding, device, settings)

    def voice_waves(self, frontend: Path) -> "Mapping[str, np.ndarray]":
        return self.decoding.voice_waves(frontend)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.cosyvoice import build, decode, encode, export

        return SimpleNamespace(build=build, decode=decode, encode=encode, export=export)
