"""`arl decode`: codes → waves by the codec's own decoder; clips of one length together, so none is padded.

Of a response the whole frames are heard (`Frame.whole`); one without any is silence of a frame's length.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from arl.models import resident
from arl.models.codec_lm.codecs import CODECS
from arl.models.codec_lm.frame import Frame
from arl.models.codec_lm.voices import NO_VOICE, load_voices
from arl.policy import Policy

if TYPE_CHECKING:
    from arl.models.codec_lm.family import CodecLm


class CodecSynthesis:
    """A `Synthesiser` (arl/models/). A voice is in the prompt alone: the codec does not hear it again."""

    def __init__(self, family: "CodecLm", policy: Policy, device: Any) -> None:
        self.codec, self.folder, self.device = CODECS[family.codec], policy.frontend_dir, device
        self.sample_rate, self.token_rate_hz = policy.given("sample_rate"), policy.given("token_rate_hz")
        places = len(family.levels)
        self.frame = Frame(family.levels, policy.acoustic[1] // places, self.codec.facts(self.folder).size)
        self.silence = torch.zeros(round(places * self.sample_rate / self.token_rate_hz))
        self.names = (NO_VOICE, *load_voices(self.folder))
        self.model = resident.wake(self.folder, self.codec.load, device)

    @property
    def voices(self) -> Collection[str]:
        return self.names

    @torch.no_grad()
    def decode(self, codes: Sequence[Sequence[int]], voices: Sequence[str], noises: Sequence[str]) -> list[Tensor]:
        rows = [self.frame.codes(numbers) for numbers in codes]
        waves = dict.fromkeys(range(len(rows)), self.silence)
        for length in sorted({len(row[0]) for row in rows} - {0}):
            chosen = [index for index, row in enumerate(rows) if len(row[0]) == length]
            levels = zip(*(rows[index] for index in chosen), strict=True)
            batch = [torch.tensor(level, device=self.device) for level in levels]
            made = self.codec.waves(self.model, batch, [noises[index] for index in chosen])
            waves |= dict(zip(chosen, made.float().cpu(), strict=True))
        return [waves[index] for index in range(len(rows))]

    def sleep(self) -> None:
        resident.sleep(self.model, self.folder)
