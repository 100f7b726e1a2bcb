"""`arl decode`: frames of codes → waves at 24 kHz by the codec's decoder; clips are padded at their end, which they
cannot hear. It draws no random numbers."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from arl.models import resident
from arl.models.qwen3_tts.build import CHECKPOINT, CODEC
from arl.models.qwen3_tts.codec import load_decoder
from arl.models.qwen3_tts.encode import voices_of
from arl.policy import Policy


class CodecSynthesis:
    """A `Synthesiser` (arl/models/)."""

    def __init__(self, policy: Policy, device: Any) -> None:
        self.folder, self.device = (policy.frontend_dir / CHECKPOINT / CODEC).parent, device
        self.sample_rate, self.token_rate_hz = policy.given("sample_rate"), policy.given("token_rate_hz")
        self.known = voices_of(policy)
        self.decoder = resident.wake(self.folder, load_decoder, device)

    @property
    def voices(self) -> Collection[str]:
        return self.known

    @torch.no_grad()
    def decode(self, codes: Sequence[Sequence[Any]], voices: Sequence[str], noises: Sequence[str]) -> list[Tensor]:
        """codes: per clip its frames, each a tuple of its K codes."""
        rows = [torch.tensor([list(frame) for frame in clip]) for clip in codes]  # each [T, K]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        waves = self.decoder(padded).cpu()
        return [wave[: len(row) * self.decoder.rate] for wave, row in zip(waves, rows, strict=True)]

    def sleep(self) -> None:
        resident.sleep(self.decoder, self.folder)
