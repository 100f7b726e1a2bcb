"""The encoder of CosyVoice2's flow: embedded codes → hidden states at twice their rate, in two stacks of layers.

Layers have attention with relative positions (arXiv 1901.02860, section 3.3) and a feed-forward layer; in front of the
first stack is a convolution that looks 3 codes ahead, in front of the second one that repeats each code. Modules are
named as the tensors of flow.pt are. A batch gives what its clips give alone: behind a clip's end are zeros.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.cosyvoice.flow import UP, LookAhead, inside

UP_LAYERS = 4


@dataclass(frozen=True)
class EncoderSizes:
    """width: of the hidden states; units: of the feed-forward layers; ahead: codes that a code's state looks ahead."""

    width: int
    heads: int
    units: int
    layers: int
    ahead: int


class Encoder(nn.Module):
    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.embed, self.up_embed = Embed(sizes.width), Embed(sizes.width)
        self.pre_lookahead_layer = LookAhead(sizes.width, sizes.width, sizes.ahead)
        self.encoders = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.up_layer = Repeat(sizes.width)
        self.up_encoders = nn.ModuleList(Layer(sizes) for _ in range(UP_LAYERS))
        self.after_norm = nn.LayerNorm(sizes.width, eps=1e-5)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [B, n, W], of which lengths int64 [B] count → states [B, 2 n, W]."""
        valid = inside(lengths, x.shape[1])
        x = self.pre_lookahead_layer(self.embed(x) * valid[..., None])
        for layer in self.encoders:
            x = layer(x, valid)
        x, valid = self.up_embed(self.up_layer(x)), inside(UP * lengths, UP * x.shape[1])
        for layer in self.up_encoders:
            x = layer(x, valid)
        return self.after_norm(x)


class Embed(nn.Module):
    """[B, n, W] → same, scaled up by √W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, eps=1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * math.sqrt(x.shape[-1])


class Repeat(nn.Module):
    """[B, n, W] → [B, 2 n, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 2 * UP + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x.repeat_interleave(UP, 1).transpose(1, 2), (2 * UP, 0))).transpose(1, 2)


class Layer(nn.Module):
    """[B, n, W] → same; valid: which positions count, bool [B, n]."""

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(sizes.width, sizes.heads)
        self.feed_forward = FeedForward(sizes.width, sizes.units)
        self.norm_mha, self.norm_ff = (nn.LayerNorm(sizes.width, eps=1e-12) for _ in range(2))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), valid)
        return x + self.feed_forward(self.norm_ff(x))


class FeedForward(nn.Module):
    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, units), nn.Linear(units, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.silu(self.w_1(x)))


class RelativeAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(width, width) for _ in range(4))
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u, self.pos_bias_v = (nn.Parameter(torch.zeros(heads, width // heads)) for _ in range(2))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[B, n, W] → same."""
        batch, length, width = x.shape
        rows = batch, length, self.heads, -1
        q = self.linear_q(x).view(rows)
        k, v = (linear(x).view(rows).transpose(1, 2) for linear in (self.linear_k, self.linear_v))
        places = self.linear_pos(distances(length, width).to(x)).view(1, 2 * length - 1, self.heads, -1).transpose(1, 2)
        content, position = ((q + bias).transpose(1, 2) for bias in (self.pos_bias_u, self.pos_bias_v))
        bias = shifted(position @ places.transpose(2, 3)) / math.sqrt(width // self.heads)
        bias = bias.masked_fill(~valid[:, None, None], -math.inf)
        found = F.scaled_dot_product_attention(content, k, v, attn_mask=bias.to(content.dtype))
        return self.linear_out(found.transpose(1, 2).reshape(batch, length, width))


def distances(length: int, width: int) -> Tensor:
    """Sinusoids of the distances length − 1 … −(length − 1), float32 [2 length − 1, width]."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    angles = torch.arange(length - 1, -length, -1, dtype=torch.float32)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def shifted(scores: Tensor) -> Tensor:
    """Scores by distance [B, heads, n, 2 n − 1] → by key [B, heads, n, n]: entry (i, j) is that of distance i − j."""
    batch, heads, length, _ = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, 2 * length, length)
    return padded[:, :, 1:].reshape(batch, heads, length, 2 * length - 1)[..., :length]
