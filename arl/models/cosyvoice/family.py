"""The families of CosyVoice: what the commands ask of both versions."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.models import Encoder, Family, InitOptions, Part
from arl.models.checkpoint import Checkpoint
from arl.models.cosyvoice.layout import Layout
from arl.policy import Policy

if TYPE_CHECKING:
    import torch


class CosyVoice(Family):
    """layout: of the version."""

    takes_voices = True
    parts: tuple[Part, ...] = ("checkpoints",)
    layout: Layout

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.folder is not None and (checkpoint.folder / self.layout.recipe).is_file()

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        return self.computing.build.build(self.name, self.layout, checkpoint, out, options)

    def export(self, policy: Policy, out: Path) -> None:
        self.computing.export.export(policy, out)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(policy, self.layout)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.cosyvoice import build, encode, export

        return SimpleNamespace(build=build, encode=encode, export=export)
