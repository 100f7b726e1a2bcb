"""Mel spectrogram → wave, the vocoder HiFT (arXiv 2309.09493), with the tensors of hift.pt by their names.

A pitch predictor makes a source of harmonics and noise, with phases that are summed at the frame rate as upstream's
SineGen2 does at 24 kHz; convolutions shape it and the mel into the magnitudes and phases of short Fourier transforms.
`Hift` is CosyVoice2's; a version whose convolutions are others overrides the methods that make them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import remove_parametrizations


class Hift(nn.Module):
    """sizes: the recipe's section `hift`. Of B mels of one length; clips of other lengths are another call. phases: how
    those of the source are interpolated between frames."""

    phases = "linear"

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.sizes, base, rates = sizes, sizes["base_channels"], sizes["upsample_rates"]
        self.n_fft, self.hop = sizes["istft_params"]["n_fft"], sizes["istft_params"]["hop_len"]
        widths = [base // 2 ** (index + 1) for index in range(len(rates))]
        self.m_source = Source(sizes["nb_harmonics"])
        self.f0_predictor = Pitch(self.pitch_convs(sizes["in_channels"], sizes["f0_predictor"]["cond_channels"]))
        self.conv_pre = weight_norm(self.first_conv(base))
        self.ups = nn.ModuleList(
            weight_norm(self.up(2 * width, width, kernel, rate))
            for width, rate, kernel in zip(widths, rates, sizes["upsample_kernel_sizes"], strict=True)
        )
        kernels, dilations = sizes["source_resblock_kernel_sizes"], sizes["source_resblock_dilation_sizes"]
        self.source_resblocks = nn.ModuleList(
            ResBlock(self.conv, *shape) for shape in zip(widths, kernels, dilations, strict=True)
        )
        strides = [math.prod(rates[index + 1 :]) for index in range(len(rates))]
        self.source_downs = nn.ModuleList(
            self.down(self.n_fft + 2, *pair) for pair in zip(widths, strides, strict=True)
        )  # fmt: skip
        shapes = list(zip(sizes["resblock_kernel_sizes"], sizes["resblock_dilation_sizes"], strict=True))
        self.resblocks = nn.ModuleList(ResBlock(self.conv, width, *shape) for width in widths for shape in shapes)
        self.conv_post = weight_norm(self.conv(widths[-1], self.n_fft + 2, 7))

    def conv(self, width_in: int, width: int, kernel: int, dilation: int = 1) -> nn.Module:
        """[B, C, T] → [B, D, T]."""
        return nn.Conv1d(width_in, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)

    def first_conv(self, width: int) -> nn.Module:
        """Of the mel, [B, 80, T] → [B, D, T]."""
        return self.conv(self.sizes["in_channels"], width, 7)

    def pitch_convs(self, width_in: int, width: int) -> list[nn.Module]:
        """Of the pitch predictor."""
        return [self.conv(before, width, 3) for before in [width_in, *[width] * 4]]

    def up(self, width_in: int, width: int, kernel: int, rate: int) -> nn.Module:
        """[B, C, T] → [B, D, rate T]."""
        return nn.ConvTranspose1d(width_in, width, kernel, rate, padding=(kernel - rate) // 2)

    def down(self, width_in: int, width: int, stride: int) -> nn.Module:
        """From the source's frame rate to that of a layer."""
        if stride == 1:
            return self.conv(width_in, width, 1)
        return nn.Conv1d(width_in, width, 2 * stride, stride, padding=stride // 2)

    @property
    def frame_samples(self) -> int:
        """Samples of a mel frame."""
        return math.prod(self.sizes["upsample_rates"]) * self.hop

    def plain(self) -> "Hift":
        """With the norms of its weights multiplied in, which computes the same faster, and the pitch in float64: its
        phases are sums over all frames, so that in float32 a clip's wave would depend on its batch."""
        self.f0_predictor.double()
        for module in self.modules():
            if hasattr(module, "parametrizations"):
                remove_parametrizations(module, "weight")
        return self

    @torch.no_grad()
    def forward(self, mels: Tensor, seeds: Sequence[int]) -> Tensor:
        """Mels [B, 80, T] → waves float32 [B, 480 T], in ±0.99. seeds: of each clip's random numbers."""
        return self.shape(mels, self.source(self.f0_predictor(mels), seeds))

    def source(self, pitch: Tensor, seeds: Sequence[int]) -> Tensor:
        """Pitch [B, T], Hz → [B, 480 T]: harmonics where a frame is voiced, noise where it is not. In the pitch's dtype
        up to the sines."""
        sizes, scale = self.sizes, self.frame_samples
        pitch = pitch.repeat_interleave(scale, 1)[..., None]  # [B, 480 T, 1]
        n_waves = sizes["nb_harmonics"] + 1
        starts, noises = zip(*(self.random_numbers(seed, pitch.shape[1], n_waves) for seed in seeds), strict=True)
        multiples = torch.arange(1, n_waves + 1, device=pitch.device)
        turns = pitch * multiples / sizes["sampling_rate"] % 1
        turns[:, 0] += torch.stack(starts).to(turns)
        slow = F.interpolate(turns.transpose(1, 2), scale_factor=1 / scale, mode="linear")
        phases = F.interpolate(slow.cumsum(2) * 2 * torch.pi * scale, scale_factor=scale, mode=self.phases)
        voiced = (pitch > sizes["nsf_voiced_threshold"]).to(turns)
        amplitude = voiced * sizes["nsf_sigma"] + (1 - voiced) * sizes["nsf_alpha"] / 3
        sines = phases.sin().transpose(1, 2) * sizes["nsf_alpha"]
        return self.m_source(sines * voiced + amplitude * torch.stack(noises).to(turns))[..., 0]

    def random_numbers(self, seed: int, n_samples: int, n_waves: int) -> tuple[Tensor, Tensor]:
        """(phases at the start in turns [n_waves], 0 for the first; standard normal noise [n_samples, n_waves])."""
        generator = torch.Generator().manual_seed(seed)
        return first_phases(n_waves, generator), torch.randn(n_samples, n_waves, generator=generator)

    def shape(self, mels: Tensor, source: Tensor) -> Tensor:
        """Mels [B, 80, T] and their source [B, 480 T] → waves [B, 480 T]."""
        window = torch.hann_window(self.n_fft, device=mels.device)
        spectrum = torch.view_as_real(torch.stft(
            source.float(), self.n_fft, self.hop, self.n_fft, window=window, return_complex=True
        ))  # fmt: skip
        source = torch.cat([spectrum[..., 0], spectrum[..., 1]], 1)
        x, n = self.conv_pre(mels), len(self.resblocks) // len(self.ups)
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, self.sizes["lrelu_slope"]))
            if index == len(self.ups) - 1:
                x = F.pad(x, (1, 0), "reflect")
            x = x + self.source_resblocks[index](self.source_downs[index](source))
            x = torch.stack([block(x) for block in self.resblocks[n * index : n * (index + 1)]]).mean(0)
        x = self.conv_post(F.leaky_relu(x)).float()
        n_bins = self.n_fft // 2 + 1
        magnitudes, phases = x[:, :n_bins].exp().clamp(max=100), x[:, n_bins:].sin()
        bins = torch.polar(magnitudes, phases)
        waves = torch.istft(bins, self.n_fft, self.hop, self.n_fft, window=window)
        return waves.clamp(-self.sizes["audio_limit"], self.sizes["audio_limit"])


def first_phases(n_waves: int, generator: torch.Generator) -> Tensor:
    """Turns in 0 … 1, [n_waves], 0 for the first."""
    phases = torch.rand(n_waves, generator=generator)
    phases[0] = 0
    return phases


class Source(nn.Module):
    """Sines [B, n, harmonics + 1] → one source [B, n, 1]."""

    def __init__(self, harmonics: int) -> None:
        super().__init__()
        self.l_linear = nn.Linear(harmonics + 1, 1)

    def forward(self, sines: Tensor) -> Tensor:
        return self.l_linear(sines.to(self.l_linear.weight.dtype)).tanh()


class Pitch(nn.Module):
    """Mels [B, 80, T] → pitch [B, T], Hz. convs: its convolutions, each [B, C, T] → [B, D, T]."""

    def __init__(self, convs: Sequence[nn.Module]) -> None:
        super().__init__()
        self.condnet = nn.Sequential(*(module for each in convs for module in (weight_norm(each), nn.ELU())))
        self.classifier = nn.Linear(int(convs[-1].out_channels), 1)

    def forward(self, mels: Tensor) -> Tensor:
        mels = mels.to(self.classifier.weight.dtype)
        return self.classifier(self.condnet(mels).transpose(1, 2))[..., 0].abs()


class ResBlock(nn.Module):
    """[B, C, T] → same: pairs of dilated convolutions, each added. conv: (C, C, kernel, dilation) → one."""

    def __init__(
        self, conv: Callable[[int, int, int, int], nn.Module], width: int, kernel: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(weight_norm(conv(width, width, kernel, dilation)) for dilation in dilations)
        self.convs2 = nn.ModuleList(weight_norm(conv(width, width, kernel, 1)) for _ in dilations)
        self.activations1, self.activations2 = (nn.ModuleList(Snake(width) for _ in dilations) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        layers = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for first, wide, second, narrow in layers:
            x = x + narrow(second(wide(first(x))))
        return x


class Snake(nn.Module):
    """x + sin²(αx) / α, of each channel its own α."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x + (x * alpha).sin().square() / (alpha + 1e-9)
