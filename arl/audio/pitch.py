"""Fundamental frequency of speech, and how much it varies.

    pitch_std(load(Path("clip.flac")))   # 0.21 octaves

SwiftF0 (MIT; its wheel of 0.1 MB has the model; the extra `tts`) gives F0 every 16 ms. It is normalised to octaves
above the clip's own median, log2(F0 / median): equal intervals give equal values for high and low
voices, a rise counts as a fall of the same interval, and the values are of the size of a normalised edit distance
(read speech 0.15 to 0.35; an octave is 12 semitones). Left out: smoothing.
"""

import functools
from typing import Any

import numpy as np

from arl.audio.io import SAMPLE_RATE
from arl.errors import ArlError

LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0  # of speech; the model knows singing too
VOICED = 0.5  # of the model's confidence, its own threshold
FEWEST_FRAMES = 10  # voiced ones, 0.16 s: less has no contour
SEMITONES = 12  # to the octave


def voiced_hz(samples: np.ndarray) -> np.ndarray:
    """float32 [n] at 16 kHz → F0 of the voiced frames in Hz, float64, in order. ArlError when SwiftF0 is missing."""
    found = _detector().detect(samples, SAMPLE_RATE, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
    return found.pitch_hz[found.confidence >= VOICED]


def contour(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n] at 16 kHz → (seconds, F0 in Hz), float64 [frames] each; NaN where a frame is not voiced. ArlError
    when SwiftF0 is missing."""
    found = _detector().detect(samples, SAMPLE_RATE, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
    hz = np.where(found.confidence >= VOICED, found.pitch_hz, np.nan)
    return np.asarray(found.timestamps, dtype=np.float64), hz.astype(np.float64)


def pitch_std(samples: np.ndarray) -> float | None:
    """Standard deviation of F0 over the clip's voiced frames, in octaves; None where under 0.16 s is voiced."""
    hz = voiced_hz(samples)
    return None if len(hz) < FEWEST_FRAMES else float(np.std(np.log2(hz / np.median(hz))))


@functools.cache
def _detector() -> Any:
    try:
        from swift_f0 import SwiftF0
    except ImportError as error:
        raise ArlError("pitch needs swift-f0: install arl with the extra tts") from error
    return SwiftF0(threads=1, spin=False)
