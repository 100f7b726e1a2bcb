"""Audio in and out: any file to mono float32 at one rate, and back to FLAC.

soundfile (libsndfile) reads wav, flac, mp3, ogg and more; PyAV (FFmpeg's libraries inside the wheel) takes what it
does not know, such as G.722, m4a or webm. Left out: torchaudio's loader, which needs FFmpeg on the system and imports
torch. Resampling is soxr at its highest common quality.

    samples = load(Path("clip.mp3"))          # float32 [n], 16 kHz
"""

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr

from arl.audio.decode import decode, seconds
from arl.errors import ArlError

SAMPLE_RATE = 16000
_FULL_SCALE = 32768  # 16-bit samples x are the floats x / 32768, as libsndfile reads them
_CANCELLED = 0.1  # of the least power that a channel alone would leave in the average of all


def load(
    source: bytes | Path,
    sample_rate: int = SAMPLE_RATE,
    name: str = "",
    start_s: float = 0.0,
    end_s: float | None = None,
    channel: int | None = None,
    most_s: float | None = None,
    prove: bool = False,
) -> np.ndarray:
    """Samples of a file, or of a file's content, as mono float32 [n] at `sample_rate`; 16-bit full scale is 1.0.

    Channels are averaged (`mono`), or one is taken, from 0. `name` names content in errors, and its extension tells
    headerless formats (.g722). `start_s`/`end_s` cut a segment out, in seconds of the source, before resampling.
    `most_s`: no more than so many seconds are read. `prove`: a FLAC is compared with the digest in its header.
    Raises ArlError naming the file when it cannot be read, is empty, was cut, or holds a value that is not finite.
    """
    label = name or (str(source) if isinstance(source, Path) else "audio")
    samples, rate = decode(source, label, (start_s, end_s), most_s, prove)
    if channel is not None and channel >= samples.shape[1]:
        raise ArlError(f"{label}: no channel {channel}, it has {samples.shape[1]}; they count from 0")
    heard = mono(samples) if channel is None else samples[:, channel]
    if not len(heard):
        raise ArlError(f"{label}: no audio in it")
    if not np.isfinite(heard).all():
        raise ArlError(f"{label}: samples that are not finite numbers")
    return np.ascontiguousarray(resample(heard, rate, sample_rate), dtype=np.float32)


def mono(samples: np.ndarray) -> np.ndarray:
    """float32 [n, channels] to [n]: the average; the loudest channel where they cancel out, as in antiphase."""
    if samples.shape[1] == 1 or not len(samples):
        return samples[:, 0]
    average = samples.mean(axis=1, dtype=np.float32)
    powers = np.einsum("nc,nc->c", samples, samples)
    if np.dot(average, average) < _CANCELLED * powers.max() / samples.shape[1] ** 2:
        return samples[:, int(powers.argmax())]
    return average


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """float32 [n] at `rate` to float32 [round(n * to_rate / rate)] at `to_rate`."""
    if rate == to_rate:
        return samples
    return soxr.resample(samples, rate, to_rate, quality="HQ")


def duration(source: bytes | Path, name: str = "") -> float:
    """Seconds of audio in a file or a file's content, from its header where that is possible."""
    return seconds(source, name or (str(source) if isinstance(source, Path) else "audio"))


def is_plain(content: bytes, sample_rate: int = SAMPLE_RATE) -> str | None:
    """'wav' or 'flac' when the content already is mono audio of that kind at `sample_rate`, else None."""
    try:
        info = soundfile.info(io.BytesIO(content))
    except RuntimeError:
        return None
    known = {"WAV": "wav", "FLAC": "flac"}.get(info.format)
    return known if info.channels == 1 and info.samplerate == sample_rate and info.frames > 0 else None


def encode_flac(samples: np.ndarray, rate: int = SAMPLE_RATE) -> bytes:
    """float [n] in [-1, 1) as 16-bit mono FLAC, louder values clipped. Samples read from 16 bits come back exact."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(samples), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def to_int16(samples: np.ndarray) -> np.ndarray:
    """float [n] in [-1, 1) as int16 [n]; louder values are clipped.

    The scaling is done here because libsndfile writes floats times 32767 and reads them divided by 32768.
    """
    whole = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return whole.astype(np.int16)
