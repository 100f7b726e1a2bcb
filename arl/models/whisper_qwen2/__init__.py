"""Whisper's encoder + a frame-stacking projector + a Qwen2 (or any other decoder-only) LLM: speech recognition."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.audio.whisper_packages import WHEELS
from arl.errors import UsageError
from arl.models import Checkpoint, Dtype, Encoder, Family, InitOptions
from arl.policy import Policy

if TYPE_CHECKING:
    import torch

    from arl.models.whisper_qwen2.frontend import Frontend


class WhisperQwen2(Family):
    name = "whisper-qwen2"
    takes = "Whisper"
    packaged = tuple(WHEELS)
    parts = ("checkpoints", "slim", "features", "projector")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.model_type == "whisper"

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        if options.asks:
            raise UsageError(
                f"{checkpoint.source}: the prompt is fixed: leave out --instruction, --language, --hotwords"
            )
        return self.computing.build.build(
            checkpoint.source, options.llm or "new:256x4", options.stack or 2, out, options.seed, options.subwords
        )

    def restore(self, slim: Policy, out: Path) -> Policy:
        return self.computing.build.restore(slim, out)

    def export_slim(self, policy: Policy, out: Path, dtype: Dtype) -> Policy:
        return self.computing.build.export_slim(policy, out, dtype)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.ProjectedEncoding(policy, device, features, self.computing.frontend.load)

    def load_frontend(self, folder: Path) -> "Frontend":
        return self.computing.frontend.load(folder)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.whisper_qwen2 import build, encode, frontend

        return SimpleNamespace(build=build, encode=encode, frontend=frontend)


FAMILY: Family = WhisperQwen2()
