"""The base of the families of a plain LM and a codec: what a family says of itself, and the same doing for all."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from arl.models import DecodeSettings, Encoder, Family, InitOptions, Part, Synthesiser
from arl.models.checkpoint import Checkpoint
from arl.policy import Policy

if TYPE_CHECKING:
    import torch


class CodecLm(Family):
    """types: the LM's model_type. code: the token of a code, `{}` its number; end: the one that ends a response. codec:
    transformers' class, frozen; codec_type: its model_type. rate_hz: codes per second. turns: the chat that the
    tokenizer's template makes the prompt of, `{text}` where the text stands; the last turn is continued. longest: of a
    prompt and its response, tokens."""

    parts: tuple[Part, ...] = ("checkpoints", "decoder")
    takes_codec = True
    types: tuple[str, ...] = ()
    code = end = codec = codec_type = ""
    rate_hz = 0.0
    turns: tuple[tuple[str, str], ...] = ()
    longest = 0

    def recognises(self, checkpoint: Checkpoint) -> bool:
        folder = checkpoint.folder
        file = folder / "tokenizer.json" if folder is not None else None
        if checkpoint.model_type not in self.types or file is None or not file.is_file():
            return False
        return f'"{self.end}"' in file.read_text(encoding="utf-8")

    def build(self, checkpoint: Checkpoint, out: Path, options: InitOptions) -> Policy:
        return self.computing.build.build(self, checkpoint, out, options)

    def encoder(self, policy: Policy, device: "torch.device", features: bool) -> Encoder:
        return self.computing.encode.TextEncoding(policy)

    def synthesiser(self, policy: Policy, device: "torch.device", settings: DecodeSettings) -> Synthesiser:
        return self.computing.decode.CodecSynthesis(self, policy, device)

    def waves(self, codec: Any, codes: "torch.Tensor") -> "torch.Tensor":
        """Codes int64 [B, n] → waves float32 [B, samples], by the codec on its device."""
        raise NotImplementedError

    @property
    def computing(self) -> Any:
        """The modules that import torch, by their names."""
        from arl.models.codec_lm import build, decode, encode

        return SimpleNamespace(build=build, decode=decode, encode=encode)
