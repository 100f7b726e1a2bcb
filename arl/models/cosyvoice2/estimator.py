"""The velocity field of CosyVoice2's flow: a causal U-Net of one level over mel frames, with flow.pt's names."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.cosyvoice.flow import INPUT, N_MELS


@dataclass(frozen=True)
class EstimatorSizes:
    """blocks: attention layers behind each convolution; middle: convolutions in the middle."""

    channels: int
    heads: int
    head_width: int
    blocks: int
    middle: int


class Estimator(nn.Module):
    def __init__(self, sizes: EstimatorSizes) -> None:
        super().__init__()
        width, time = sizes.channels, 4 * sizes.channels
        self.time_mlp = TimeEmbedding(time)
        self.down_blocks = nn.ModuleList([stage(INPUT, sizes, CausalConv(width, width))])
        self.mid_blocks = nn.ModuleList(stage(width, sizes) for _ in range(sizes.middle))
        self.up_blocks = nn.ModuleList([stage(2 * width, sizes, CausalConv(width, width))])
        self.final_block = CausalBlock(width, width)
        self.final_proj = nn.Conv1d(width, N_MELS, 1)

    def forward(self, x: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        """x [B, 320, T]: path, mean, speaker and prompt; valid: which frames count, bool [B, T]; t [B] → velocities
        [B, 80, T], 0 where no frame counts."""
        mask, time = valid[:, None].to(x.dtype), self.time_mlp(t)
        ((first, blocks, down),) = self.down_blocks
        skip = attended(first(x, mask, time), valid, blocks)
        x = down(skip * mask)
        for convolution, blocks in self.mid_blocks:
            x = attended(convolution(x, mask, time), valid, blocks)
        ((last, blocks, up),) = self.up_blocks
        x = up(attended(last(torch.cat([x, skip], 1), mask, time), valid, blocks) * mask)
        return self.final_proj(self.final_block(x, mask) * mask) * mask


def stage(width_in: int, sizes: EstimatorSizes, *end: nn.Module) -> nn.ModuleList:
    """A convolution, its attention layers, and what follows."""
    blocks = nn.ModuleList(Attended(sizes) for _ in range(sizes.blocks))
    return nn.ModuleList([ResNet(width_in, sizes.channels), blocks, *end])


def attended(x: Tensor, valid: Tensor, blocks: Any) -> Tensor:
    """[B, C, T] → same through attention layers."""
    x = x.transpose(1, 2)
    for block in blocks:
        x = block(x, valid)
    return x.transpose(1, 2)


class TimeEmbedding(nn.Module):
    """Times in 0 … 1, [B] → [B, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(INPUT, width), nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        half = INPUT // 2
        rates = torch.exp(torch.arange(half, device=t.device).float() * -(math.log(10000) / (half - 1)))
        angles = 1000 * t[:, None] * rates
        return self.linear_2(F.silu(self.linear_1(torch.cat([angles.sin(), angles.cos()], -1))))


class CausalConv(nn.Conv1d):
    """A convolution over a frame and the two before it, [B, C, T] → [B, D, T]."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__(width_in, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (2, 0)))


class Turned(nn.Module):
    """[B, C, T] ↔ [B, T, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class CausalBlock(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            CausalConv(width_in, width), Turned(), nn.LayerNorm(width), Turned(), nn.Mish()
        )  # fmt: skip

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.block(x * mask) * mask


class ResNet(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(4 * width, width))
        self.block1, self.block2 = CausalBlock(width_in, width), CausalBlock(width, width)
        self.res_conv = nn.Conv1d(width_in, width, 1)

    def forward(self, x: Tensor, mask: Tensor, time: Tensor) -> Tensor:
        inner = self.block1(x, mask) + self.mlp(time)[..., None]
        return self.block2(inner, mask) + self.res_conv(x * mask)


class Attended(nn.Module):
    """[B, T, C] → same; valid: which frames count, bool [B, T]."""

    def __init__(self, sizes: EstimatorSizes) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(sizes.channels), nn.LayerNorm(sizes.channels)
        self.attn1, self.ff = Attention(sizes), FeedForward(sizes.channels)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x), valid)
        return x + self.ff(self.norm3(x))


class Attention(nn.Module):
    def __init__(self, sizes: EstimatorSizes) -> None:
        super().__init__()
        self.heads, width = sizes.heads, sizes.heads * sizes.head_width
        self.to_q, self.to_k, self.to_v = (nn.Linear(sizes.channels, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, sizes.channels)])

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            linear(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for linear in (self.to_q, self.to_k, self.to_v)
        )
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None])
        return self.to_out[0](found.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Projected(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class Projected(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))
