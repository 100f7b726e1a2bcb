"""CosyVoice3's vocoder: HiFT with convolutions that see the past alone; the mel's first ones look a few frames ahead.

The noise of the source is uniform in 0 … 1 and its phases stay the same within a frame, as upstream's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.cosyvoice import hift
from arl.models.cosyvoice.hift import first_phases

PITCH_AHEAD = 3  # mel frames that the pitch predictor looks ahead


class Hift(hift.Hift):
    phases = "nearest"

    def conv(self, width_in: int, width: int, kernel: int, dilation: int = 1) -> nn.Module:
        return CausalConv(width_in, width, kernel, dilation=dilation)

    def first_conv(self, width: int) -> nn.Module:
        return AheadConv(self.sizes["in_channels"], width, self.sizes["conv_pre_look_right"] + 1)

    def pitch_convs(self, width_in: int, width: int) -> list[nn.Module]:
        return [AheadConv(width_in, width, PITCH_AHEAD + 1), *(self.conv(width, width, 3) for _ in range(4))]

    def up(self, width_in: int, width: int, kernel: int, rate: int) -> nn.Module:
        return RepeatConv(width_in, width, kernel, rate)

    def down(self, width_in: int, width: int, stride: int) -> nn.Module:
        return DownConv(width_in, width, 2 * stride, stride) if stride > 1 else self.conv(width_in, width, 1)

    def random_numbers(self, seed: int, n_samples: int, n_waves: int) -> tuple[Tensor, Tensor]:
        """(phases at the start in turns [n_waves], 0 for the first; noise in 0 … 1 [n_samples, n_waves])."""
        generator = torch.Generator().manual_seed(seed)
        return first_phases(n_waves, generator), torch.rand(n_samples, n_waves, generator=generator)


class CausalConv(nn.Conv1d):
    """[B, C, T] → [B, D, T]; a frame sees itself and those before it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.dilation[0] * (self.kernel_size[0] - 1), 0)))


class AheadConv(nn.Conv1d):
    """[B, C, T] → [B, D, T]; a frame sees itself and those behind it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, self.kernel_size[0] - 1)))


class RepeatConv(CausalConv):
    """[B, C, T] → [B, D, rate T]: each frame repeated, then a causal convolution."""

    def __init__(self, width_in: int, width: int, kernel: int, rate: int) -> None:
        super().__init__(width_in, width, kernel)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.repeat_interleave(self.rate, 2))


class DownConv(nn.Conv1d):
    """[B, C, T] → [B, D, T / stride], causal."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.stride[0] - 1, 0)))
