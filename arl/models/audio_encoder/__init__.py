"""Any audio encoder of transformers + a fresh projector + any causal LM: wav2vec2, HuBERT, WavLM, Parakeet, Moonshine …

    arl init --from facebook/wav2vec2-base-960h --llm Qwen/Qwen2.5-0.5B-Instruct --stack 4 -o policy

Of a CTC or encoder-decoder model the encoder is taken and the head or decoder left out. Whisper has a family of its own
(whisper_qwen2), which encodes a clip on its own length.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.errors import UsageError
from arl.models import Checkpoint, Encoder, Family, InitOptions
from arl.policy import Policy

if TYPE_CHECKING:
    import torch

    from arl.models.audio_encoder.frontend import Frontend

TYPES = (
    "wav2vec2", "wav2vec2-bert", "wav2vec2-conformer", "hubert", "wavlm", "unispeech", "unispeech-sat",
    "data2vec-audio", "sew", "moonshine", "parakeet_encoder", "parakeet_ctc",
)  # fmt: skip


class AudioEncoder(Family):
    name, takes = "audio-encoder", "wav2vec2, HuBERT, WavLM, Parakeet, Moonshine"
    parts = ("checkpoints", "features", "projector")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.model_type in TYPES

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        if options.llm is None:
            raise UsageError(f"{checkpoint.source}: a {checkpoint.model_type} has an encoder, and no LLM to train: "
                             "name one with --llm")  # fmt: skip
        if options.asks:
            raise UsageError(f"{checkpoint.source}: fixed prompt: leave out --instruction, --language and --hotwords")
        return self.computing.build.build(
            checkpoint.source, options.llm, options.stack or 2, out, options.seed, options.subwords
        )

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.ProjectedEncoding(policy, device, features, self.computing.frontend.load)

    def load_frontend(self, folder: Path) -> "Frontend":
        return self.computing.frontend.load(folder)

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.audio_encoder import build, frontend
        from arl.models.whisper_qwen2 import encode

        return SimpleNamespace(build=build, frontend=frontend, encode=encode)


FAMILY: Family = AudioEncoder()
