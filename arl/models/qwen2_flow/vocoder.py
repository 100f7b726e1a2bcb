"""Log-mel → 16 kHz speech: a Vocos-like network, or Griffin-Lim where no vocoder has been trained.

Vocos (arXiv 2306.00814): ConvNeXt blocks over frames, then magnitude and phase per frame and an inverse Fourier
transform with overlap-add; there is no upsampling, so it is many times faster than real time on a CPU. The network
corrects the magnitudes that the filter bank's pseudo-inverse gives, as in FreeV (arXiv 2406.08196). A padded batch
equals its clips alone: frames outside a clip are zero for every convolution and have no part in the overlap-add.
Griffin-Lim (torchaudio's) needs no training and sounds metallic. It works on one clip at a time, so equal mels give
equal bits; but its rounds enlarge the rounding of the mels, 32 of them to about 2e-3 of full scale.

    wave = Vocos(VocosConfig())(mel[None], lengths=torch.tensor([len(mel)]))[0]     # [2 n, 80] → [640 n]
"""

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.qwen2_flow.convnext import EPS, ConvNeXt, frames_inside, zero_outside
from arl.models.qwen2_flow.mel import EDGE, FLOOR, HOP, N_FFT, N_MELS, filters

LOUDEST = N_FFT / 4  # magnitude of a full-scale tone under the window, which no logit may exceed
OVERLAP = N_FFT // HOP  # windows over each sample
SPARE_FRAMES = 6  # silence behind a clip for Griffin-Lim, whose transform mirrors half a window


@dataclass(frozen=True)
class VocosConfig:
    """Sizes. width: channels of a frame; hidden: inside a block; kernel: frames, odd."""

    width: int = 192
    hidden: int = 512
    layers: int = 5
    kernel: int = 7

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "vocos", **asdict(self)}


class Vocos(nn.Module):
    """The network. Window and filter bank are made when needed, not saved."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv1d(N_MELS, config.width, config.kernel, padding=config.kernel // 2)
        self.norm_in = nn.LayerNorm(config.width, eps=EPS)
        scale = 1 / config.layers
        self.layers = nn.ModuleList(
            ConvNeXt(config.width, config.hidden, config.kernel, scale) for _ in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width, eps=EPS)
        self.head = nn.Linear(config.width, N_FFT + 2)  # corrections of log-magnitudes, then phases

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel: log-mel [B, T, 80], of whose frames lengths int64 [B] count → float32 [B, 320 T], silent outside."""
        inside = frames_inside(lengths)
        x = self.conv_in(zero_outside(mel, inside).transpose(1, 2)).transpose(1, 2)
        x = self.norm_in(x)
        for layer in self.layers:
            x = layer(x, inside)
        logits, phase = self.head(self.norm_out(x)).float().chunk(2, dim=-1)
        magnitude = (logits.exp() * magnitudes_of(mel)).clamp_max(LOUDEST)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        return overlap_add(spectrum, inside)


def magnitudes_of(mel: Tensor) -> Tensor:
    """Log-mel [..., 80] → float32 magnitudes [..., 641]: the smallest that have this mel, negative ones made FLOOR."""
    with torch.autocast(mel.device.type, enabled=False):
        return (mel.float().exp() @ _inverse_filters(str(mel.device))).clamp_min(FLOOR)


@cache
def _inverse_filters(device: str) -> Tensor:
    with torch.inference_mode(False):
        return torch.linalg.pinv(filters("cpu").double()).float().to(device)


def overlap_add(spectrum: Tensor, inside: Tensor | None) -> Tensor:
    """Complex [B, T, 641] → [B, 320 T]: windowed inverse transforms added up, divided by the windows' sum of squares.

    inside: bool [B, T, 1]; frames outside add nothing, to neither sum, as if they were not there.
    """
    window = torch.hann_window(N_FFT, device=spectrum.device)
    frames = torch.fft.irfft(spectrum, n=N_FFT) * window
    squares = window.square().expand(1 if inside is None else len(frames), frames.shape[1], -1)
    wave, weight = (_added(zero_outside(x, inside)) for x in (frames, squares))
    wave = wave / weight.clamp_min(1e-8)
    if inside is None:
        return wave
    return wave.masked_fill(~inside[..., 0].repeat_interleave(HOP, dim=1), 0.0)


def _added(frames: Tensor) -> Tensor:
    """[B, T, 1280] → [B, 320 T]: frame t begins at sample 320 t - 480."""
    batch, length, _ = frames.shape
    blocks = F.pad(frames.view(batch, length, OVERLAP, HOP), (0, 0, 0, 0, 0, OVERLAP - 1))
    total = blocks[:, :, 0].clone()
    for k in range(1, OVERLAP):
        total[:, k:] += blocks[:, : total.shape[1] - k, k]
    return total.reshape(batch, -1)[:, EDGE : EDGE + length * HOP]


class GriffinLim(nn.Module):
    """The fallback without weights: non-negative magnitudes by the filter bank's pseudo-inverse, then phases by
    torchaudio's fast Griffin-Lim of `n_iter` rounds from zero phase."""

    def __init__(self, n_iter: int = 32) -> None:
        super().__init__()
        self.n_iter = n_iter

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """As Vocos; one clip after another, so a batch's clips are what they are alone."""
        with torch.autocast(mel.device.type, enabled=False):
            waves = [self.one(row[:length]) for row, length in zip(mel.float(), lengths.tolist(), strict=True)]
        return nn.utils.rnn.pad_sequence([F.pad(wave, (0, mel.shape[1] * HOP - len(wave))) for wave in waves], True)

    def one(self, mel: Tensor) -> Tensor:
        """Log-mel [T, 80] → [320 T]."""
        from torchaudio.functional import griffinlim

        silence = torch.full((SPARE_FRAMES, N_MELS), math.log(FLOOR), device=mel.device)
        magnitude = magnitudes_of(torch.cat([mel, silence]))
        wave = griffinlim(
            magnitude.T, torch.hann_window(N_FFT, device=mel.device), N_FFT, HOP, N_FFT, power=1.0,
            n_iter=self.n_iter, momentum=0.99, length=len(magnitude) * HOP - HOP // 2, rand_init=False,
        )  # fmt: skip
        return F.pad(wave, (HOP // 2, 0))[: len(mel) * HOP]  # its frame t is around sample 320 t, ours 160 later

    @property
    def config(self) -> "GriffinLim":
        return self

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "griffin-lim", "n_iter": self.n_iter}


def make_vocoder(shape: dict[str, Any]) -> Vocos | GriffinLim:
    """The vocoder that `config.json` names, without weights. ValueError or TypeError for an unknown one."""
    kind, sizes = shape.get("kind"), {name: value for name, value in shape.items() if name != "kind"}
    if kind == "vocos":
        return Vocos(VocosConfig(**sizes))
    if kind == "griffin-lim":
        return GriffinLim(**sizes)
    raise ValueError(f"unknown vocoder {kind!r}: vocos or griffin-lim")
