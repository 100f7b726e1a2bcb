"""Audio in and out: any file to mono float32 at one rate, and back to FLAC.

soundfile (libsndfile) reads wav, flac, mp3, ogg and more; PyAV (FFmpeg's libraries inside the wheel) takes what it
does not know, such as G.722, m4a or webm. Left out: torchaudio's loader, which needs FFmpeg on the system and imports
torch. Resampling is soxr at its highest common quality.

    samples = load(Path("clip.mp3"))          # float32 [n], 16 kHz
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from arl.errors import ArlError

SAMPLE_RATE = 16000
_FULL_SCALE = 32768  # 16-bit samples x are the floats x / 32768, as libsndfile reads them
Segment = tuple[float, float | None]  # seconds; None: to the end
WHOLE: Segment = (0.0, None)
_HEADERLESS = {".g722": "g722"}  # names FFmpeg cannot find out from the content


def load(
    source: bytes | Path,
    sample_rate: int = SAMPLE_RATE,
    name: str = "",
    start_s: float = 0.0,
    end_s: float | None = None,
) -> np.ndarray:
    """Samples of a file, or of a file's content, as mono float32 [n] at `sample_rate`; 16-bit full scale is 1.0.

    Channels are averaged. `name` names content in errors, and its extension tells headerless formats (.g722).
    `start_s`/`end_s` cut a segment out, in seconds of the source, before resampling.
    Raises ArlError naming the file when it cannot be read, is empty, or holds a value that is not finite.
    """
    label = name or (str(source) if isinstance(source, Path) else "audio")
    samples, rate = _read(source, label, (start_s, end_s))
    mono = samples.mean(axis=1, dtype=np.float32) if samples.shape[1] > 1 else samples[:, 0]
    if not len(mono):
        raise ArlError(f"{label}: no audio in it")
    if not np.isfinite(mono).all():
        raise ArlError(f"{label}: samples that are not finite numbers")
    return np.ascontiguousarray(resample(mono, rate, sample_rate), dtype=np.float32)


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """float32 [n] at `rate` to float32 [round(n * to_rate / rate)] at `to_rate`."""
    if rate == to_rate:
        return samples
    return soxr.resample(samples, rate, to_rate, quality="HQ")


def duration(source: bytes | Path, name: str = "") -> float:
    """Seconds of audio in a file or a file's content, from its header where that is possible."""
    try:
        info = soundfile.info(_handle(source))
        return info.frames / info.samplerate
    except RuntimeError:  # soundfile's own errors are of this kind
        samples, rate = _read(source, name or str(source if isinstance(source, Path) else "audio"))
        return len(samples) / rate


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


def _handle(source: bytes | Path) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _headerless(source: bytes | Path, label: str) -> str | None:
    """FFmpeg's name of a headerless format, known by the file's extension."""
    return _HEADERLESS.get((source if isinstance(source, Path) else Path(label)).suffix.lower())


def _read(source: bytes | Path, label: str, segment: Segment = WHOLE) -> tuple[np.ndarray, int]:
    """float32 [n, channels] and the rate, through soundfile, else through PyAV."""
    if isinstance(source, Path) and not source.is_file():
        raise ArlError(f"{label}: no such audio file")
    if _headerless(source, label) is None:
        with contextlib.suppress(RuntimeError), soundfile.SoundFile(_handle(source)) as file:
            start, end = _frames(segment, file.samplerate, file.frames, label)
            file.seek(start)  # a segment of an hour-long recording is read alone
            return file.read(end - start, dtype="float32", always_2d=True), file.samplerate
    samples, rate = _read_av(source, label)  # not one of libsndfile's formats
    start, end = _frames(segment, rate, len(samples), label)
    return samples[start:end], rate


def _read_av(source: bytes | Path, label: str) -> tuple[np.ndarray, int]:
    import av
    import av.error

    blocks: list[np.ndarray] = []
    try:
        with av.open(_handle(source), format=_headerless(source, label)) as container:
            if not container.streams.audio:
                raise ArlError(f"{label}: no audio stream in it")
            rate = container.streams.audio[0].codec_context.sample_rate
            for frame in container.decode(audio=0):
                if frame.sample_rate != rate:
                    raise ArlError(f"{label}: the sample rate changes from {rate} to {frame.sample_rate} Hz")
                blocks.append(_floats(frame))
    except (av.error.FFmpegError, ValueError) as error:
        raise ArlError(f"{label}: not an audio file that soundfile or FFmpeg can read ({error})") from error
    if not blocks:
        raise ArlError(f"{label}: no audio in it")
    return np.concatenate(blocks), rate


def _floats(frame: Any) -> np.ndarray:
    """One decoded frame as float32 [n, channels]: planar or packed, integer or float."""
    block = frame.to_ndarray()
    channels = len(frame.layout.channels)
    block = block.T if frame.format.is_planar else block.reshape(-1, channels)
    if block.dtype == np.uint8:
        return (block.astype(np.float32) - 128) / 128
    if np.issubdtype(block.dtype, np.integer):
        return block.astype(np.float32) / float(-int(np.iinfo(block.dtype).min))
    return block.astype(np.float32)


def _frames(segment: Segment, rate: int, n_frames: int, label: str) -> tuple[int, int]:
    """First and end frame of a segment in seconds. Raises ArlError when it is outside the recording."""
    start_s, end_s = segment
    start = round(start_s * rate)
    end = n_frames if end_s is None else round(end_s * rate)
    # a segment list made from rounded times may end a moment after the recording does
    if segment != WHOLE and (not 0 <= start < min(end, n_frames) or end > n_frames + rate // 10):
        raise ArlError(f"{label}: segment {start_s} to {end_s} s is outside its {n_frames / rate:.2f} s")
    return start, min(end, n_frames)
