"""Speaker embeddings: who speaks, as a unit vector.

    cosine(embedding(load(Path("a.flac"))), embedding(load(Path("b.flac"))))   # 0.87

The GE2E network (Wan et al. 2018, arXiv 1710.10467) with the weights in the package `resemblyzer` (Apache-2.0; nothing
is downloaded; the extra `tts`): a mel spectrogram of 40 bins, an LSTM over windows of 1.6 s, the mean over windows. The
package is not imported, as its code wants librosa and a voice activity detector that has to be compiled; what it
computes is computed here (equal to 2e-7 on the same samples), but long silences stay in. Left out: batching over
clips, whose numbers of windows differ.

Cosines lie between 0 and 1, as no component is negative. Two voices seldom have under 0.5; one voice has over 0.75.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio

from arl.audio.io import SAMPLE_RATE
from arl.errors import ArlError

SHORTEST_S = 0.4  # of a clip; less says nothing about a speaker
WINDOW, HOP, BINS = 400, 160, 40  # samples, samples, mel bins: 25 ms every 10 ms
FRAMES, STEP = 160, 77  # frames in a window of the network, and from one window to the next
COVERED = 0.75  # of the last window must be audio, unless it is the only one
SIZE, LAYERS = 256, 3
QUIETEST_RMS = 10 ** (-30 / 20)  # a quieter clip is made as loud, -30 dBFS


def embedding(samples: np.ndarray, device: str = "cpu") -> np.ndarray | None:
    """float32 [n] at 16 kHz → float32 [256] of length 1; None for digital silence and clips under 0.4 s.

    ArlError when the weights are not installed.
    """
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    if len(samples) < SHORTEST_S * SAMPLE_RATE or rms == 0:
        return None
    starts = window_starts(len(samples))
    padded = np.zeros(max(len(samples), (starts[-1] + FRAMES) * HOP), dtype=np.float32)
    padded[: len(samples)] = samples * max(1.0, QUIETEST_RMS / rms)
    lstm, linear, filters = _network(device)
    with torch.no_grad():
        mel = _mel(torch.from_numpy(padded).to(device), filters)
        windows = torch.stack([mel[start : start + FRAMES] for start in starts])
        _, (hidden, _) = lstm(windows)
        each = torch.nn.functional.normalize(linear(hidden[-1]).relu(), dim=1)
        return torch.nn.functional.normalize(each.mean(0), dim=0).cpu().numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two embeddings, 0 to 1."""
    return float(np.dot(a, b))


def window_starts(n_samples: int) -> list[int]:
    """The first frame of each of the network's windows over a clip, as resemblyzer has them."""
    n_frames = -(-(n_samples + 1) // HOP)
    starts = list(range(0, max(1, n_frames - FRAMES + STEP + 1), STEP))
    covered = (n_samples - starts[-1] * HOP) / (FRAMES * HOP)
    return starts[:-1] if covered < COVERED and len(starts) > 1 else starts


def _mel(samples: Any, filters: Any) -> Any:
    """float32 [n] → power mel spectrogram [frames, 40], not logarithmic, frames centred (as librosa's)."""
    window = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    return (filters.T @ spectrum.abs().square()).T


@functools.cache
def _network(device: str) -> tuple[Any, Any, Any]:
    """LSTM, output layer and mel filters [201, 40], on the device."""
    package = importlib.util.find_spec("resemblyzer")
    if package is None or not package.submodule_search_locations:
        raise ArlError("speaker embeddings need resemblyzer: install arl with the extra tts")
    path = Path(package.submodule_search_locations[0]) / "pretrained.pt"
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = torch.nn.LSTM(BINS, SIZE, LAYERS, batch_first=True), torch.nn.Linear(SIZE, SIZE)
    for layer, prefix in ((lstm, "lstm."), (linear, "linear.")):
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        layer.load_state_dict(own, strict=True)
        layer.to(device).eval().requires_grad_(False)
    filters = torchaudio.functional.melscale_fbanks(
        WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, BINS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return lstm, linear, filters.to(device)
