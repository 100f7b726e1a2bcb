"""Decoding: a file's samples as they are stored, through libsndfile, else through FFmpeg's libraries (PyAV).

Read in blocks, and no more than asked for: a header's claim of hours takes no memory. A file that ends before its
header says so is an error, and so is one that libsndfile knows and finds damaged: FFmpeg, which passes over damage, is
only asked for what libsndfile cannot open.
"""

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from arl.audio.headers import UNKNOWN_MD5, FlacInfo, flac_info, require_whole
from arl.errors import ArlError

Segment = tuple[float, float | None]  # seconds; None: to the end
WHOLE: Segment = (0.0, None)
RATES = (1000, 1_000_000)  # Hz, the lowest and the highest that are believed
BLOCK = 1 << 22  # values read at once
UNKNOWN_LENGTH = 1 << 40  # frames; libsndfile's word for a FLAC from a pipe is above
CUT_S = 0.5  # seconds that a container may end before its stated duration
TIMED = ("mov", "matroska", "asf")  # containers whose stated duration is exact
_HEADERLESS = {".g722": "g722"}  # names FFmpeg cannot find out from the content


def decode(
    source: bytes | Path, label: str, segment: Segment = WHOLE, most_s: float | None = None, prove: bool = False
) -> tuple[np.ndarray, int]:
    """float32 [n, channels] of the segment and the rate in Hz. most_s: what comes behind so many seconds is not read.
    prove: compare with the digest of the samples that a FLAC file has.

    Raises ArlError naming `label` when it cannot be read, was cut, or the segment is outside it.
    """
    if isinstance(source, Path) and not source.is_file():
        raise ArlError(f"{label}: no such audio file")
    with contextlib.ExitStack() as stack:
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else stack.enter_context(_opened(source))
        require_whole(stream, label)
        headerless = _HEADERLESS.get((source if isinstance(source, Path) else Path(label)).suffix.lower())
        file = None if headerless else _sndfile(io.BytesIO(source) if isinstance(source, bytes) else str(source))
        if file is None:
            stream.seek(0)
            return _with_ffmpeg(stream, headerless, label, segment, most_s)
        with file:
            samples = _with_sndfile(file, label, segment, most_s)
            stream.seek(0)
            info = flac_info(stream.read(42)) if prove and segment == WHOLE and len(samples) == file.frames else None
            if info is not None and not _is_proved(samples, info):
                raise ArlError(f"{label}: its samples are not those that its header states (MD5): damaged")
            return samples, file.samplerate


def seconds(source: bytes | Path, label: str) -> float:
    """Seconds of audio, from the header where that is possible. Raises ArlError as `decode` does."""
    with contextlib.suppress(RuntimeError, TypeError):  # soundfile's own errors are of these kinds
        info = soundfile.info(io.BytesIO(source) if isinstance(source, bytes) else str(source))
        if info.frames < UNKNOWN_LENGTH:
            return info.frames / info.samplerate
    samples, rate = decode(source, label)
    return len(samples) / rate


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ArlError(f"{path}: cannot be read ({error.strerror})") from error


def _sndfile(source: BinaryIO | str) -> soundfile.SoundFile | None:
    """None for what is not one of libsndfile's formats, and for a FLAC from a pipe, whose end it does not find."""
    try:
        file = soundfile.SoundFile(source)
    except (RuntimeError, TypeError):
        return None
    if file.frames >= UNKNOWN_LENGTH:
        file.close()
        return None
    return file


def _with_sndfile(file: soundfile.SoundFile, label: str, segment: Segment, most_s: float | None) -> np.ndarray:
    _require_rate(file.samplerate, label)
    start, end = _frames(segment, file.samplerate, file.frames, label)
    wanted = end - start if most_s is None else min(end - start, math.ceil(most_s * file.samplerate))
    try:
        if start:
            file.seek(start)  # a segment of an hour-long recording is read alone
        blocks = list(_blocks(file, wanted))
    except RuntimeError as error:
        raise ArlError(f"{label}: damaged, or shorter than its header says ({error or 'libsndfile'})") from error
    samples = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty((0, file.channels), np.float32), *blocks])
    if len(samples) < wanted and file.format != "MP3":
        raise ArlError(f"{label}: cut: {len(samples)} of the {wanted} samples that its header states")
    return samples


def _blocks(file: soundfile.SoundFile, n_frames: int) -> Iterator[np.ndarray]:
    most = max(1, BLOCK // file.channels)
    while n_frames > 0 and len(block := file.read(min(most, n_frames), dtype="float32", always_2d=True)):
        n_frames -= len(block)
        yield block


def _is_proved(samples: np.ndarray, info: FlacInfo) -> bool:
    """Whether float32 [n, channels] are the samples whose MD5 the header has; True where it cannot be told."""
    if info.md5 == UNKNOWN_MD5 or info.bits not in (8, 16, 24):
        return True
    whole = np.rint(samples.astype(np.float64) * 2 ** (info.bits - 1)).astype("<i4")
    raw = whole.view(np.uint8).reshape(-1, 4)[:, : info.bits // 8]
    return hashlib.md5(raw.tobytes(), usedforsecurity=False).digest() == info.md5


def _with_ffmpeg(
    stream: BinaryIO, headerless: str | None, label: str, segment: Segment, most_s: float | None
) -> tuple[np.ndarray, int]:
    import av
    import av.error

    start_s, end_s = segment
    if most_s is not None:
        end_s = start_s + most_s if end_s is None else min(end_s, start_s + most_s)
    last_s = math.inf if end_s is None else end_s + 1.0  # one more: a segment that is outside is told
    try:
        # a file is all that is read: playlists name other files and addresses
        with av.open(stream, format=headerless, options={"protocol_whitelist": "none"}) as container:
            blocks, rate = _frames_of(container, label, last_s)
    except (av.error.FFmpegError, ValueError, TypeError, AttributeError, NotImplementedError, OverflowError) as error:
        raise ArlError(f"{label}: not an audio file that soundfile or FFmpeg can read ({error})") from error
    samples = np.concatenate(blocks)
    if segment != WHOLE:
        segment = start_s, None if segment[1] is None else end_s
    start, end = _frames(segment, rate, len(samples), label)
    return samples[start:end], rate


def _frames_of(container: Any, label: str, last_s: float) -> tuple[list[np.ndarray], int]:
    """The decoded blocks up to `last_s` seconds, and the rate."""
    if not container.streams.audio:
        raise ArlError(f"{label}: no audio stream in it")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ArlError(f"{label}: of a kind that FFmpeg cannot decode")
    rate, n_frames = stream.codec_context.sample_rate, 0
    _require_rate(rate, label)
    blocks: list[np.ndarray] = []
    for frame in container.decode(audio=0):
        if frame.sample_rate != rate:
            raise ArlError(f"{label}: the sample rate changes from {rate} to {frame.sample_rate} Hz")
        blocks.append(_floats(frame))
        n_frames += len(blocks[-1])
        if n_frames >= last_s * rate:
            return blocks, rate
    if not blocks:
        raise ArlError(f"{label}: no audio in it")
    stated_s = _stated_s(container, stream)
    if n_frames / rate < stated_s - max(CUT_S, 0.02 * stated_s):
        raise ArlError(f"{label}: cut: {n_frames / rate:.2f} of the {stated_s:.2f} s that its header states")
    return blocks, rate


def _stated_s(container: Any, stream: Any) -> float:
    """Seconds of the audio stream where the container says so exactly, else 0."""
    if not any(name in container.format.name for name in TIMED):
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1 and container.duration is not None
    return container.duration / 1e6 if alone else 0.0


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


def _require_rate(rate: int, label: str) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise ArlError(f"{label}: a sample rate of {rate} Hz; {RATES[0]} to {RATES[1]} are believed")


def _at(time_s: float | None, rate: int, n_frames: int) -> int:
    """The frame at a time, `n_frames` for the end."""
    return n_frames if time_s is None else round(time_s * rate)


def _frames(segment: Segment, rate: int, n_frames: int, label: str) -> tuple[int, int]:
    """First and end frame of a segment in seconds. Raises ArlError when it is outside the recording."""
    start_s, end_s = segment
    start, end = _at(start_s, rate, n_frames), _at(end_s, rate, n_frames)
    # a segment list made from rounded times may end a moment after the recording does
    if segment != WHOLE and (not 0 <= start < min(end, n_frames) or end > n_frames + rate // 10):
        raise ArlError(f"{label}: segment {start_s} to {end_s} s is outside its {n_frames / rate:.2f} s")
    return start, min(end, n_frames)
