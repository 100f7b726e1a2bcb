"""Voice activity: how much of a clip is speech.

    speech_seconds(load(Path("clip.flac")))  # 2.31

By Silero VAD (MIT; the wheel of `silero-vad` has the model; an extra: `pip install 'arl[vad]'`), on 16 kHz, with its
own segmentation: pieces under 0.25 s do not count, pauses under 0.1 s do not interrupt. Left out: where speech lies.
"""

import functools
import warnings
from typing import Any

import numpy as np
import torch

from arl.audio.io import SAMPLE_RATE
from arl.errors import ArlError

THRESHOLD = 0.5  # of the model's probability of speech, its default


def speech_seconds(samples: np.ndarray, threshold: float = THRESHOLD) -> float:
    """Seconds of speech in float32 [n] at 16 kHz. ArlError when the detector is not installed."""
    model, timestamps = _silero()
    found = timestamps(torch.from_numpy(samples), model, threshold=threshold, sampling_rate=SAMPLE_RATE)
    return sum(piece["end"] - piece["start"] for piece in found) / SAMPLE_RATE


@functools.cache
def _silero() -> tuple[Any, Any]:
    """The model and its segmentation. Importing them sets torch to one thread for the process; that is undone."""
    threads = torch.get_num_threads()
    try:
        from silero_vad import get_speech_timestamps, load_silero_vad
    except ImportError as error:
        raise ArlError("voice activity needs silero-vad: install arl with the extra vad") from error
    finally:
        torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would have TorchScript models exported anew
        return load_silero_vad(), get_speech_timestamps
