"""Log-mel spectrograms of 16 kHz speech: 80 bins, 50 frames a second, two frames for each acoustic token.

Frame t covers the 1280 samples around sample 320·t + 160 (the wave is mirrored at its ends), so a wave of n·640
samples has exactly 2·n frames, and the vocoder's inverse transform exactly n·640 samples.

    mel = log_mel(wave)                # [n] → [2 · ceil(n / 640), 80]
    speaker = speaker_vector(mel)      # [160]
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16000
N_MELS = 80
HOP = 320  # samples: 50 frames/s
N_FFT = 1280
FRAMES_PER_CODE = 2
CODE_SAMPLES = FRAMES_PER_CODE * HOP  # 640
TOKEN_RATE_HZ = SAMPLE_RATE / CODE_SAMPLES  # 25.0 codes/s
EDGE = (N_FFT - HOP) // 2  # samples of the first window before the wave, and of the last behind it
FLOOR = 1e-5  # magnitudes below it count as silence
SPEAKER_DIM = 2 * N_MELS


def whole_codes(waves: Tensor) -> Tensor:
    """[…, n] → […, m]: silence is added behind, up to the next multiple of 640 samples; at least 640."""
    n_codes = max(1, -(-waves.shape[-1] // CODE_SAMPLES))
    return F.pad(waves, (0, n_codes * CODE_SAMPLES - waves.shape[-1]))


def log_mel(waves: Tensor) -> Tensor:
    """float32 […, n] at 16 kHz → […, T, 80], natural logarithm of magnitudes; T is even, silence fills up."""
    waves = whole_codes(waves)
    flat = waves.reshape(-1, 1, waves.shape[-1])
    spectra = _transform(str(waves.device))(F.pad(flat, (EDGE, EDGE), mode="reflect")[:, 0])
    return spectra.clamp_min(FLOOR).log().transpose(1, 2).reshape(*waves.shape[:-1], -1, N_MELS)


def speaker_vector(mel: Tensor) -> Tensor:
    """Log-mel [T, 80] of a recording → float32 [160]: each bin's mean and deviation over the louder half of frames,
    brought to about unit size."""
    loudness = mel.exp().sum(1)
    loud = mel[loudness >= loudness.median()]
    return torch.cat([loud.mean(0) / 5 + 1, loud.std(0, correction=0) - 1])


def filters(device: torch.device | str = "cpu") -> Tensor:
    """The mel filter bank [641, 80]."""
    return _transform(str(device)).mel_scale.fb


@cache
def _transform(device: str) -> Any:
    from torchaudio.transforms import MelSpectrogram

    with torch.inference_mode(False):  # kept for those, too, that compute gradients
        return MelSpectrogram(
            SAMPLE_RATE, n_fft=N_FFT, win_length=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, center=False
        ).to(device)
