"""Acoustic tokens → waves by the policy's flow and vocoder (decoder.py), and its voices made audible."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arl.errors import ArlError
from arl.models import DecodeSettings, resident
from arl.models.qwen2_flow import decoder
from arl.models.qwen2_flow.decoder import Decoder, noise_of
from arl.models.qwen2_flow.mel import FRAMES_PER_CODE
from arl.models.qwen2_flow.prompts import load_voices
from arl.policy import Policy


class FlowSynthesis:
    """A `Synthesiser` (arl/models/)."""

    def __init__(self, policy: Policy, device: Any, settings: DecodeSettings) -> None:
        self.folder, self.settings = policy.frontend_dir, settings
        self.decoder = resident.wake(self.folder, decoder.load, device)
        self.speakers = speakers_of(policy, self.decoder)
        self.sample_rate, self.token_rate_hz = self.decoder.sample_rate, self.decoder.token_rate_hz

    @property
    def voices(self) -> Collection[str]:
        return self.speakers

    def decode(self, codes: Sequence[Sequence[int]], voices: Sequence[str], noises: Sequence[str]) -> list[Tensor]:
        rows = [torch.tensor(row, dtype=torch.long) for row in codes]
        speakers = torch.stack([self.speakers[voice] for voice in voices])
        starts = [noise_of(name, FRAMES_PER_CODE * len(row)) for name, row in zip(noises, rows, strict=True)]
        dtype = getattr(torch, self.settings.dtype)
        return self.decoder.decode(rows, speakers, starts, self.settings.nfe, self.settings.cfg, dtype)

    def sleep(self) -> None:
        resident.sleep(self.decoder, self.folder)


def speakers_of(policy: Policy, decoder: Decoder) -> dict[str, Tensor]:
    """The voices' speaker vectors, float32 [S], by name. ArlError where policy and decoder do not fit each other."""
    n_codes, sizes = policy.acoustic[1], decoder.flow.config
    if n_codes > sizes.codes:
        raise ArlError(f"{policy.path}: {n_codes} acoustic tokens, but its decoder knows {sizes.codes}")
    found = {name: torch.from_numpy(voice.speaker).float() for name, voice in load_voices(policy.frontend_dir).items()}
    for name, speaker in found.items():
        if speaker.shape != (sizes.speaker_dim,):
            shape = list(speaker.shape)
            raise ArlError(f"{policy.path}: voice {name!r}: speaker vector {shape}, not [{sizes.speaker_dim}]")
    return found


def voice_waves(frontend: Path) -> dict[str, np.ndarray]:
    """The voices of a frontend by name, float32 [n] at 16 kHz: what its decoder makes of their acoustic tokens."""
    loaded, waves = decoder.load(frontend), {}
    for name, voice in load_voices(frontend).items():
        codes, speaker = torch.tensor(voice.codes, dtype=torch.long), torch.from_numpy(voice.speaker).float()
        (wave,) = loaded.decode([codes], speaker[None], [noise_of(name, FRAMES_PER_CODE * len(codes))])
        waves[name] = wave.numpy()
    return waves
