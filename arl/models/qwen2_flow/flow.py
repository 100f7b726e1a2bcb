"""Acoustic tokens → log-mel by conditional flow matching with classifier-free guidance, as in CosyVoice2.

A code encoder makes a condition per frame (embedding, convolutions at 25 Hz, doubled to 50 Hz, plus the speaker
vector); a transformer with ConvNeXt feed-forward layers estimates the velocity of the optimal-transport path
x_t = (1 - (1 - σ) t)·noise + t·mel. Sampling is Euler's method on a cosine schedule, and the noise is the caller's,
so equal noise gives equal speech. A padded batch equals its clips alone: convolutions see zeros outside a clip,
attention sees nothing, norms are per frame. Left out: a prompt's mel as condition; the speaker is a vector.

With a draft, the tokenizer's own mel of the codes, what flows is the difference from it, and it is a condition, too
(as ResGrad, arXiv 2212.14518, does with diffusion): a small network has less to learn.

Sources: CosyVoice2 (arXiv 2412.10117, sections 2.4 and 3); flow matching (arXiv 2210.02747); the shared time
modulation with a table per layer is PixArt-α's (arXiv 2310.00426).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.qwen2_flow.codec import Draft
from arl.models.qwen2_flow.convnext import EPS, ConvNeXt, Depthwise, frames_inside, zero_outside
from arl.models.qwen2_flow.mel import FRAMES_PER_CODE, N_MELS, SPEAKER_DIM

SIGMA = 1e-6  # the path's spread around the data at t = 1


@dataclass(frozen=True)
class FlowConfig:
    """Sizes. codes: acoustic tokens; speaker_dim: length of a speaker vector; layers: of the velocity estimator,
    encoder_layers: of the code encoder; hidden: inside feed-forward layers; kernel: frames, odd; draft: sizes of the
    tokenizer's way back, or none; temperature: what the noise is multiplied by when sampling."""

    codes: int = 729
    speaker_dim: int = SPEAKER_DIM
    width: int = 192
    layers: int = 6
    heads: int = 4
    hidden: int = 768
    kernel: int = 7
    encoder_layers: int = 2
    draft: dict[str, int] | None = None
    temperature: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CodeEncoder(nn.Module):
    """Codes [B, n] and speakers [B, S] → the condition [B, 2 n, W]."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codes, config.width)
        blocks = [ConvNeXt(config.width, config.hidden // 2, config.kernel) for _ in range(config.encoder_layers + 1)]
        self.before, self.after = nn.ModuleList(blocks[:-1]), blocks[-1]
        self.speaker = nn.Linear(config.speaker_dim, config.width)
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, codes: Tensor, speakers: Tensor, lengths: Tensor) -> Tensor:
        x, inside = self.embedding(codes), frames_inside(lengths)
        for block in self.before:
            x = block(x, inside)
        x = x.repeat_interleave(FRAMES_PER_CODE, dim=1)
        x = self.after(x, None if inside is None else inside.repeat_interleave(FRAMES_PER_CODE, dim=1))
        return self.norm(x) + self.speaker(speakers)[:, None]


class Layer(nn.Module):
    """Self-attention, then a depthwise convolution and two linear layers; both scaled and gated by the time."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.depthwise = Depthwise(config.width, config.kernel)
        self.up, self.down = nn.Linear(config.width, config.hidden), nn.Linear(config.hidden, config.width)
        self.table = nn.Parameter(torch.randn(6, config.width) / config.width**0.5)

    def forward(self, x: Tensor, time: Tensor, inside: Tensor | None) -> Tensor:
        """x: [B, T, W]; time: [B or 1, 6, W]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (time + self.table)[:, :, None].unbind(1)
        x = x + gate1 * self.attend(norm(x) * (1 + scale1) + shift1, inside)
        y = self.depthwise(zero_outside(norm(x) * (1 + scale2) + shift2, inside))
        return x + gate2 * self.down(F.gelu(self.up(y)))

    def attend(self, x: Tensor, inside: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mask = None if inside is None else inside[:, None, None, :, 0]  # no query sees a frame outside its clip
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Flow(nn.Module):
    """The code encoder, the velocity estimator, and the mean and standard deviation of the mel bins, or of their
    differences from the draft (buffers [80])."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.encoder = CodeEncoder(config)
        self.draft = Draft(**config.draft) if config.draft else None
        self.project_draft = nn.Linear(N_MELS, width) if config.draft else None
        self.project_in = nn.Linear(N_MELS, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 6 * width))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(width, eps=EPS)
        self.project_out = nn.Linear(width, N_MELS)
        self.register_buffer("mean", torch.zeros(N_MELS))
        self.register_buffer("std", torch.ones(N_MELS))

    def condition(self, codes: Tensor, speakers: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(the condition [B, 2 n, W], the log-mel that data is counted from, [B, 2 n, 80] or [80])."""
        condition = self.encoder(codes, speakers, lengths)
        if self.draft is None or self.project_draft is None:
            return condition, self.mean
        draft = self.draft(codes, lengths)
        return condition + self.project_draft(draft / 4 + 1), draft + self.mean  # of about unit size

    def velocity(self, x: Tensor, t: Tensor, condition: Tensor, inside: Tensor | None) -> Tensor:
        """x: [B, T, 80] on the path at times t [B or 1]; condition: [B, T, W]; inside: bool [B, T, 1] or None."""
        time = self.time(sinusoids(t, self.config.width)).view(len(t), 6, -1)
        h = self.project_in(x) + condition
        for layer in self.layers:
            h = layer(h, time, inside)
        return self.project_out(self.norm_out(h))

    @torch.no_grad()
    def sample(
        self, codes: Tensor, lengths: Tensor, speakers: Tensor, noise: Tensor, nfe: int = 10, cfg: float = 0.7
    ) -> Tensor:
        """Log-mel [B, 2 n, 80], anything outside the clips.

        codes: int64 [B, n], of which lengths int64 [B] count; speakers: float32 [B, S]; noise: float32 [B, 2 n, 80];
        nfe: Euler steps; cfg: guidance, velocity (1 + cfg)·conditional - cfg·unconditional; 0 computes only the first.
        """
        condition, origin = self.condition(codes, speakers, lengths)
        inside = frames_inside(FRAMES_PER_CODE * lengths)
        if cfg:
            condition = torch.cat([condition, torch.zeros_like(condition)])
            inside = None if inside is None else torch.cat([inside, inside])
        times = schedule(nfe).tolist()
        x = self.config.temperature * noise
        for now, then in zip(times, times[1:], strict=False):
            at = torch.full((1,), now, device=x.device)
            v = self.velocity(torch.cat([x, x]) if cfg else x, at, condition, inside).float()
            if cfg:
                conditional, unconditional = v.chunk(2)
                v = (1 + cfg) * conditional - cfg * unconditional
            x = x + (then - now) * v
        return x * self.std + origin


def schedule(nfe: int) -> Tensor:
    """The nfe + 1 times of the Euler steps, from 0 to 1, dense at the beginning: 1 - cos(π/2 · k / nfe). float64."""
    return 1 - torch.cos(torch.linspace(0, math.pi / 2, nfe + 1, dtype=torch.float64))


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Times in [0, 1], [B] → float32 [B, W], as positions of a thousand are encoded in transformers."""
    rates = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = 1000 * t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=EPS)
