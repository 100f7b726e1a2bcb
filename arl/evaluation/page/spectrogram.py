"""A clip to look at: its mel spectrogram as a small PNG, and its F0 as a line on it.

    png(load(Path("clip.flac")))           # bytes of a PNG, 80 bands high, a pixel every 10 ms
    pitch_line(load(Path("clip.flac")))    # "M0.0 81.2 L0.4 81.0 …" in per cent of the picture, "" where F0 is unknown

Left out: axes; the page says that it shows 0 to 8 kHz on the mel scale.
"""

import io

import numpy as np
from PIL import Image

from arl.audio.io import SAMPLE_RATE
from arl.audio.pitch import contour
from arl.errors import ArlError

WINDOW, HOP, BANDS = 400, 160, 80  # samples (25 ms, 10 ms), mel bands
RANGE_DB = 70.0
COLOURS = ((9, 8, 32), (59, 23, 105), (134, 38, 110), (206, 72, 74), (245, 147, 52), (250, 243, 178))  # quiet to loud


def mel(hz: float | np.ndarray) -> np.ndarray:
    """O'Shaughnessy's scale."""
    return 2595 * np.log10(1 + np.asarray(hz, dtype=np.float64) / 700)


TOP = float(mel(SAMPLE_RATE / 2))


def filters() -> np.ndarray:
    """Triangles, float64 [BANDS, WINDOW // 2 + 1]."""
    points = np.linspace(0, TOP, BANDS + 2)[:, None]
    bins = mel(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))[None]
    step = points[1] - points[0]
    return np.clip(1 - np.abs(bins - points[1:-1]) / step, 0, None) + 1e-6


def levels(samples: np.ndarray) -> np.ndarray:
    """float32 [n] at 16 kHz → uint8 [BANDS, frames], 255 the loudest, the highest band first."""
    padded = np.pad(samples, (WINDOW // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    decibels = 10 * np.log10(power @ filters().T + 1e-10)
    return np.clip(255 * (1 + (decibels - decibels.max()) / RANGE_DB), 0, 255).astype(np.uint8).T[::-1]


def png(samples: np.ndarray) -> bytes:
    """The picture of `levels`, with a palette of 256 colours."""
    image = Image.fromarray(np.ascontiguousarray(levels(samples)), "P")
    anchors = np.array(COLOURS, dtype=np.float64)
    places = np.linspace(0, len(anchors) - 1, 256)
    palette = np.stack([np.interp(places, np.arange(len(anchors)), anchors[:, one]) for one in range(3)], axis=1)
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pitch_line(samples: np.ndarray) -> str:
    """F0 as the path of an SVG; "" without a voiced frame, or without SwiftF0."""
    try:
        seconds, hz = contour(samples)
    except ArlError:
        return ""
    x, y = 100 * seconds * SAMPLE_RATE / len(samples), 100 * (1 - mel(hz) / TOP)
    path, is_down = [], False
    for one, other in zip(x, y, strict=True):
        if np.isfinite(other):
            path.append(f"{'L' if is_down else 'M'}{one:.1f} {other:.1f}")
        is_down = bool(np.isfinite(other))
    return " ".join(path)
