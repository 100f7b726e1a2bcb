"""`arl decode`: codes → waves by the codec's own decoder; clips of one length together, so none is padded."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from arl.models import resident
from arl.models.codec_lm.encode import VOICE
from arl.policy import Policy
from arl.runtime.device import quiet_transformers
from arl.train.load import whole

if TYPE_CHECKING:
    from arl.models.codec_lm.family import CodecLm


class CodecSynthesis:
    """A `Synthesiser` (arl/models/). Codecs draw no random numbers."""

    def __init__(self, family: "CodecLm", policy: Policy, device: Any) -> None:
        self.family, self.folder = family, policy.frontend_dir
        self.sample_rate, self.token_rate_hz = policy.given("sample_rate"), policy.given("token_rate_hz")
        self.codec = resident.wake(self.folder, self.load, device)

    @property
    def voices(self) -> Collection[str]:
        return (VOICE,)

    @torch.no_grad()
    def decode(self, codes: Sequence[Sequence[int]], voices: Sequence[str], noises: Sequence[str]) -> list[Tensor]:
        waves: dict[int, Tensor] = {}
        for length in sorted({len(row) for row in codes}):
            chosen = [index for index, row in enumerate(codes) if len(row) == length]
            rows = torch.tensor([list(codes[index]) for index in chosen], device=self.codec.device)
            waves |= dict(zip(chosen, self.family.waves(self.codec, rows).float().cpu(), strict=True))
        return [waves[index] for index in range(len(codes))]

    def load(self, folder: Path) -> Any:
        """The codec, float32, frozen. ArlError where a tensor is missing."""
        import transformers

        quiet_transformers()
        model = whole(getattr(transformers, self.family.codec).from_pretrained, folder, dtype=torch.float32)
        return model.requires_grad_(False).eval()

    def sleep(self) -> None:
        resident.sleep(self.codec, self.folder)
