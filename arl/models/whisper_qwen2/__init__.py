"""Whisper's encoder + a frame-stacking projector + a Qwen2 (or any other decoder-only) LLM: speech recognition."""

from pathlib import Path
from typing import TYPE_CHECKING

from arl.errors import UsageError
from arl.models import Checkpoint, Dtype, Encoder, Family, InitOptions
from arl.policy import Policy

if TYPE_CHECKING:
    import torch

    from arl.models.whisper_qwen2.frontend import Frontend


class WhisperQwen2(Family):
    name = "whisper-qwen2"
    takes = "Whisper"
    packaged = ("whisper-tiny.en",)
    parts = ("checkpoints", "slim", "features", "projector")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.model_type == "whisper"

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        from arl.models.whisper_qwen2 import build

        if options.asks:
            raise UsageError(
                f"{checkpoint.source}: the prompt is fixed: leave out --instruction, --language, --hotwords"
            )
        return build.build(checkpoint.source, options.llm or "new:256x4", options.stack or 2, out, options.seed)

    def restore(self, slim: Policy, out: Path) -> Policy:
        from arl.models.whisper_qwen2 import build

        return build.restore(slim, out)

    def export_slim(self, policy: Policy, out: Path, dtype: Dtype) -> Policy:
        from arl.models.whisper_qwen2 import build

        return build.export_slim(policy, out, dtype)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        from arl.models.whisper_qwen2 import frontend
        from arl.models.whisper_qwen2.encode import ProjectedEncoding

        return ProjectedEncoding(policy, device, features, frontend.load)

    def load_frontend(self, folder: Path) -> "Frontend":
        from arl.models.whisper_qwen2 import frontend

        return frontend.load(folder)


FAMILY: Family = WhisperQwen2()
