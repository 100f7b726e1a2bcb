"""The velocity field of CosyVoice3's flow: a diffusion transformer (arXiv 2212.09748) over mel frames, F5-TTS's kind.

Modules are named as the tensors of flow.pt are. The solver's time shifts, scales and gates every layer. Attention has
rotary positions on the channels of the first head alone, as upstream's has: it rotates before it splits the heads.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.cosyvoice.flow import INPUT, N_MELS

TIMES = 256  # sinusoids of the time
KERNEL, GROUPS = 31, 16  # of the convolutions that tell positions


@dataclass(frozen=True)
class DitSizes:
    """width: of the hidden states; grow: of the feed-forward layers, over the width."""

    width: int
    heads: int
    head_width: int
    layers: int
    grow: int


class Dit(nn.Module):
    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.time_embed, self.input_embed = TimeEmbedding(sizes.width), InputEmbedding(sizes.width)
        self.rotary_embed = Rotary(sizes.head_width)
        self.transformer_blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm_out, self.proj_out = Modulated(sizes.width, 2), nn.Linear(sizes.width, N_MELS)

    def forward(self, x: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        """x [B, 320, T]: path, mean, speaker and prompt; valid: which frames count, bool [B, T]; t [B] → velocities
        [B, 80, T], 0 where no frame counts."""
        time = F.silu(self.time_embed(t))
        x, angles = self.input_embed(x.transpose(1, 2)), self.rotary_embed(x.shape[2])
        for block in self.transformer_blocks:
            x = block(x, valid, time, angles)
        scale, shift = self.norm_out(time)
        return self.proj_out(normed(x) * (1 + scale) + shift).transpose(1, 2) * valid[:, None]


class TimeEmbedding(nn.Module):
    """Times in 0 … 1, [B] → [B, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(TIMES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        half = TIMES // 2
        rates = torch.exp(torch.arange(half, device=t.device).float() * -(math.log(10000) / (half - 1)))
        angles = 1000 * t[:, None] * rates
        return self.time_mlp(torch.cat([angles.sin(), angles.cos()], -1))


class InputEmbedding(nn.Module):
    """[B, T, 320]: path, mean, speaker and prompt → [B, T, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj, self.conv_pos_embed = nn.Linear(INPUT, width), Positions(width)

    def forward(self, x: Tensor) -> Tensor:
        path, mean, speaker, prompt = x.split(N_MELS, -1)
        x = self.proj(torch.cat([path, prompt, mean, speaker], -1))
        return x + self.conv_pos_embed(x)


class Positions(nn.Module):
    """[B, T, width] → same: two convolutions over a frame and the 30 before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Sequential(nn.Conv1d(width, width, KERNEL, groups=GROUPS), nn.Mish()) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for conv in (self.conv1, self.conv2):
            x = conv(F.pad(x, (KERNEL - 1, 0)))
        return x.transpose(1, 2)


class Rotary(nn.Module):
    """n → the angles of n positions, float32 [n, head_width / 2]."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, head_width, 2).float() / head_width))

    def forward(self, length: int) -> Tensor:
        return torch.arange(length, device=self.inv_freq.device).float()[:, None] * self.inv_freq.float()


class Modulated(nn.Module):
    """The time's embedding behind SiLU, [B, width] → `parts` vectors [B, 1, width] that change a layer."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.linear, self.parts = nn.Linear(width, parts * width), parts

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        return self.linear(time)[:, None].chunk(self.parts, -1)


class Block(nn.Module):
    """[B, T, width] → same; valid: which frames count, bool [B, T]."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.attn_norm, self.attn = Modulated(sizes.width, 6), Attention(sizes)
        self.ff = FeedForward(sizes.width, sizes.grow)

    def forward(self, x: Tensor, valid: Tensor, time: Tensor, angles: Tensor) -> Tensor:
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.attn_norm(time)
        x = x + gate * self.attn(normed(x) * (1 + scale) + shift, valid, angles)
        return x + gate_ff * self.ff(normed(x) * (1 + scale_ff) + shift_ff)


def normed(x: Tensor) -> Tensor:
    """Layer normalisation without weights of its own."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class Attention(nn.Module):
    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.heads, width = sizes.heads, sizes.heads * sizes.head_width
        self.to_q, self.to_k, self.to_v = (nn.Linear(sizes.width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, sizes.width)])

    def forward(self, x: Tensor, valid: Tensor, angles: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            linear(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for linear in (self.to_q, self.to_k, self.to_v)
        )
        q, k = (torch.cat([turned(part[:, :1], angles), part[:, 1:]], 1) for part in (q, k))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None])
        return self.to_out[0](found.transpose(1, 2).reshape(batch, length, -1))


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """[..., n, head_width] → same, each pair of neighbouring channels turned by its angle [n, head_width / 2]."""
    first, second = x.float()[..., ::2], x.float()[..., 1::2]
    sine, cosine = angles.sin(), angles.cos()
    pairs = torch.stack([first * cosine - second * sine, second * cosine + first * sine], -1)
    return pairs.flatten(-2).to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, width: int, grow: int) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(width, grow * width), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(first, nn.Identity(), nn.Linear(grow * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)
