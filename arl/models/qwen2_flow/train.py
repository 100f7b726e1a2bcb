"""Training of the decoder's two networks on recordings: the flow on (codes, speaker, mel), the vocoder on waves.

Plain loops on one device: AdamW, warm-up and cosine schedule, gradient clipping, a moving average of the weights that
is what comes back. Equal seeds give equal weights. Left out: discriminators; the vocoder learns from several
spectrograms alone, which is stable and a little dull.

    flow = train_flow(pairs, FlowConfig(), steps=3000)
    vocoder = train_vocoder(waves, VocosConfig(), steps=3000)
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arl.models.qwen2_flow.codec import Draft
from arl.models.qwen2_flow.convnext import frames_inside
from arl.models.qwen2_flow.flow import SIGMA, Flow, FlowConfig
from arl.models.qwen2_flow.mel import CODE_SAMPLES, FRAMES_PER_CODE, log_mel
from arl.models.qwen2_flow.vocoder import Vocos, VocosConfig
from arl.runtime.console import progress
from arl.train.schedule import Schedule

M = TypeVar("M", bound=nn.Module)
Pair = tuple[Tensor, Tensor, Tensor]  # codes int64 [n], speaker float32 [S], log-mel float32 [2 n, 80]
WARM_UP = 0.05  # of the steps
SMALLEST = 1e-5  # magnitudes below it are silence to the vocoder's loss


def flow_loss(
    flow: Flow, codes: Tensor, speakers: Tensor, mels: Tensor, lengths: Tensor, generator: torch.Generator,
    drop: float = 0.2,
) -> Tensor:  # fmt: skip
    """Mean squared error of the velocity at random times, over the frames inside the clips.

    codes: int64 [B, n]; speakers: [B, S]; mels: log-mel [B, 2 n, 80]; lengths: int64 [B], in codes. drop: the share of
    clips without condition, from which guidance has its unconditional velocity.
    """
    batch = len(codes)
    condition, origin = flow.condition(codes, speakers, lengths)
    data = (mels - origin) / flow.std
    noise = torch.randn(data.shape, generator=generator)
    t = 1 - torch.cos(torch.rand(batch, generator=generator) * math.pi / 2)  # as the sampler's schedule
    keep = torch.rand(batch, generator=generator) >= drop
    noise, t, keep = (x.to(data.device) for x in (noise, t, keep))
    x = (1 - (1 - SIGMA) * t[:, None, None]) * noise + t[:, None, None] * data
    condition = condition * keep[:, None, None]
    inside = frames_inside(FRAMES_PER_CODE * lengths)
    error = (flow.velocity(x, t, condition, inside) - (data - (1 - SIGMA) * noise)).square().mean(2)
    return error.mean() if inside is None else error[inside[..., 0]].mean()


def vocoder_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """made, wanted: waves [B, m], m a multiple of 640. Several spectrograms (spectral convergence and log-magnitudes,
    as Parallel WaveGAN's, arXiv 1910.11480) and the mel's mean absolute error."""
    losses = [(log_mel(made) - log_mel(wanted)).abs().mean()]
    for n_fft in (256, 512, 1024, 2048):
        window = torch.hann_window(n_fft, device=made.device)
        a, b = (_magnitudes(wave, n_fft, window) for wave in (made, wanted))
        losses.append((a - b).norm() / b.norm().clamp_min(SMALLEST) + (a.log() - b.log()).abs().mean())
    return torch.stack(losses).mean()


def _magnitudes(waves: Tensor, n_fft: int, window: Tensor) -> Tensor:
    spectra = torch.stft(waves, n_fft, n_fft // 4, window=window, return_complex=True)
    return (spectra.real.square() + spectra.imag.square()).clamp_min(SMALLEST**2).sqrt()


def train_flow(
    pairs: Sequence[Pair], config: FlowConfig, steps: int, batch: int = 16, crop: int = 100, lr: float = 1e-3,
    seed: int = 0, device: str = "cpu", draft: Draft | None = None,
) -> Flow:  # fmt: skip
    """A flow with the mean and deviation of these mels, after `steps` batches of random crops of `crop` codes. draft:
    the tokenizer's, for a flow of the difference from it."""
    torch.manual_seed(seed)
    flow = Flow(config if draft is None else replace(config, draft=draft.config))
    if draft is not None:
        flow.draft = draft
    every = torch.cat([mel if draft is None else mel - drafted(draft, codes) for codes, _, mel in pairs])
    flow.mean.copy_(every.mean(0))
    flow.std.copy_(every.std(0).clamp_min(0.1))
    flow.to(device)
    generator = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = [_cropped(pairs[i], crop, generator) for i in _drawn(len(pairs), batch, generator)]
        codes, mels = (nn.utils.rnn.pad_sequence([pair[k] for pair in chosen], True).to(device) for k in (0, 2))
        speakers = torch.stack([speaker for _, speaker, _ in chosen]).to(device)
        lengths = torch.tensor([len(row) for row, _, _ in chosen], device=device)
        return flow_loss(flow, codes, speakers, mels, lengths, generator)

    return _fit(flow, loss, steps, lr, "flow")


def drafted(draft: Draft, codes: Tensor) -> Tensor:
    """The draft [2 n, 80] of one clip's codes [n]."""
    with torch.no_grad():
        return draft(codes[None], torch.tensor([len(codes)]))[0]


def train_vocoder(
    waves: Sequence[Tensor], config: VocosConfig, steps: int, batch: int = 16, crop: int = 25, lr: float = 1e-3,
    seed: int = 0, device: str = "cpu",
) -> Vocos:  # fmt: skip
    """A vocoder after `steps` batches of random crops of `crop` codes' length; silence fills shorter waves."""
    torch.manual_seed(seed)
    vocoder = Vocos(config).to(device)
    generator = torch.Generator().manual_seed(seed)
    size = crop * CODE_SAMPLES

    def loss() -> Tensor:
        chosen = []
        for i in _drawn(len(waves), batch, generator):
            start = _start(len(waves[i]) - size, generator)
            piece = waves[i][start : start + size]
            chosen.append(F.pad(piece, (0, size - len(piece))))
        wanted = torch.stack(chosen).to(device)
        frames = torch.full((batch,), crop * FRAMES_PER_CODE, device=device)
        return vocoder_loss(vocoder(log_mel(wanted), frames), wanted)

    return _fit(vocoder, loss, steps, lr, "vocoder")


def _drawn(n: int, batch: int, generator: torch.Generator) -> list[int]:
    return torch.randint(n, (batch,), generator=generator).tolist()


def _start(spare: int, generator: torch.Generator) -> int:
    return int(torch.randint(spare + 1, (1,), generator=generator)) if spare > 0 else 0


def _cropped(pair: Pair, crop: int, generator: torch.Generator) -> Pair:
    codes, speaker, mel = pair
    start = _start(len(codes) - crop, generator)
    frames = slice(FRAMES_PER_CODE * start, FRAMES_PER_CODE * (start + min(crop, len(codes))))
    return codes[start : start + crop], speaker, mel[frames]


def _fit(module: M, loss: Callable[[], Tensor], steps: int, lr: float, name: str) -> M:
    """Optimises in place; returns a frozen copy with the weights' moving average (over the last tenth of the steps)."""
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = copy.deepcopy(module).requires_grad_(False)
    rate = Schedule(lr, max(1, WARM_UP * steps), "cosine", steps)
    decay = 1 - 1 / max(2.0, steps / 10)
    shown = 0.0
    with progress(name, steps) as bar:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate.at(step)
            value = loss()
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            kept = min(decay, (step + 1) / (step + 10))  # the first weights are soon forgotten
            for mean, now in zip(average.parameters(), module.parameters(), strict=True):
                mean.lerp_(now.detach(), 1 - kept)
            shown = value.item() if step == 0 else 0.98 * shown + 0.02 * value.item()
            bar.advance(1, f"loss {shown:.4f}")
    return average.eval()
