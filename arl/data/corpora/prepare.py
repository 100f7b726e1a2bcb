"""From an utterance to the members of its sample: audio as mono 16 kHz wav or FLAC, and the JSON beside it.

Audio that already is mono 16 kHz wav or FLAC keeps its bytes; everything else becomes 16-bit FLAC. Every recording is
decoded, so a broken one is found here and not by a later stage. With several jobs the utterances are prepared in
other processes, and come back in order; a bounded number of them is in memory at once.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from arl.audio.io import SAMPLE_RATE, encode_flac, is_plain, load, resample
from arl.data.corpora.utterance import Bad, CorpusUtterance
from arl.errors import ArlError
from arl.shards.rows import Meta

SMALL = 64  # utterances that are prepared sooner than other processes would have started
STATED_SLACK_S, STATED_SLACK = 0.2, 0.02  # seconds, and share, that a recording may be shorter than its list says
AHEAD = 8  # utterances in work or waiting, per job


@dataclass(frozen=True)
class DurationLimits:
    """Clips outside are left out: seconds, both ends included; None: no limit."""

    min_s: float | None = None
    max_s: float | None = None

    def allow(self, duration_s: float) -> bool:
        low, high = self.min_s or 0.0, self.max_s or float("inf")
        return low <= duration_s <= high


@dataclass(frozen=True)
class Prepared:
    """A sample ready for a shard. members is empty when the clip's duration is outside the limits."""

    key: str
    members: dict[str, bytes]
    duration_s: float


def at_speeds(utterance: CorpusUtterance, speeds: Sequence[float]) -> list[CorpusUtterance]:
    """The utterance at each speed, pitch included (Ko et al. 2015, as Kaldi's speed perturbation): keys get `sp0.9-` as
    Kaldi's do, without the dot; speed 1 keeps its key."""
    return [
        utterance if speed == 1 else replace(utterance, key=f"sp{speed * 100:03.0f}-{utterance.key}", speed=speed)
        for speed in speeds
    ]


def prepare(utterance: CorpusUtterance, limits: DurationLimits) -> Prepared | Bad:
    """Load, convert and describe one utterance; what is wrong with it comes back as a `Bad`."""
    try:
        meta = Meta(
            utterance.text, utterance.lang, None, utterance.speaker, list(utterance.keywords),
            [part.key for part in utterance.parts], [part.text for part in utterance.parts],
        )  # fmt: skip
        audio, duration_s = {}, 0.0
        if utterance.audio is not None:
            content, samples = read(utterance, limits.max_s)
            duration_s = len(samples) / SAMPLE_RATE
            if not limits.allow(duration_s):
                return Prepared(utterance.key, {}, duration_s)
            kind = is_plain(content) if content is not None else None
            audio = {kind: content} if kind and content is not None else {"flac": encode_flac(samples)}
            meta = replace(meta, duration_s=round(duration_s, 4))
        return Prepared(utterance.key, {**audio, **meta.members()}, duration_s)
    except (ArlError, OSError) as error:
        return Bad(utterance.label, " ".join(str(error).split()))


def prepare_all(utterances: list[CorpusUtterance], limits: DurationLimits, jobs: int) -> Iterator[Prepared | Bad]:
    """`prepare` for each utterance, in order, by `jobs` processes."""
    if jobs <= 1 or len(utterances) < SMALL:
        yield from (prepare(utterance, limits) for utterance in utterances)
        return
    # spawn: this process may have threads (a progress bar, an imported library), which a fork would break
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_job) as pool:
        todo: Iterable[CorpusUtterance] = iter(utterances)
        waiting: deque[Future[Prepared | Bad]] = deque()
        try:
            while True:
                waiting.extend(
                    pool.submit(prepare, utterance, limits) for utterance in islice(todo, jobs * AHEAD - len(waiting))
                )
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_job() -> None:
    """In a new process: one thread, and leave Ctrl-C to the process that started it, and end when it does."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its jobs, and they would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def read(utterance: CorpusUtterance, max_s: float | None = None) -> tuple[bytes | None, np.ndarray]:
    """The file's content if it may be kept as it is, and its samples: float32 [n] at 16 kHz.

    Of a clip longer than `max_s` no more than a second beyond it is read. Raises ArlError for what cannot be read, and
    for a recording that is shorter than its list says.
    """
    audio = utterance.audio() if callable(utterance.audio) else utterance.audio
    if isinstance(audio, np.ndarray):
        return None, audio
    if audio is None:
        raise ArlError("no recording")
    if isinstance(audio, Path) and not audio.is_file():
        raise ArlError(f"{audio}: a link that leads nowhere" if audio.is_symlink() else "no such audio file")
    whole = utterance.speed == 1 and utterance.start_s == 0 and utterance.end_s is None and utterance.channel is None
    name = utterance.name or (str(audio) if isinstance(audio, Path) else "")
    samples = load(
        audio,
        SAMPLE_RATE,
        name,
        utterance.start_s,
        utterance.end_s,
        channel=utterance.channel,
        most_s=None if max_s is None else max_s + 1,
        prove=True,
    )
    _require_stated(utterance, len(samples) / SAMPLE_RATE, max_s)
    if utterance.speed != 1:
        return None, faster(samples, utterance.speed)
    if not whole:
        return None, samples
    return audio.read_bytes() if isinstance(audio, Path) else audio, samples


def faster(samples: np.ndarray, speed: float) -> np.ndarray:
    """float32 [n] → [n / speed]: played at `speed`, by a band-limited resampler."""
    return np.asarray(resample(samples, round(SAMPLE_RATE * speed), SAMPLE_RATE), dtype=np.float32)


def _require_stated(utterance: CorpusUtterance, duration_s: float, max_s: float | None) -> None:
    """Lists round durations, and codecs add silence."""
    stated_s = utterance.stated_s or 0.0
    if duration_s < stated_s - max(STATED_SLACK_S, STATED_SLACK * stated_s) and (max_s is None or duration_s <= max_s):
        raise ArlError(f"cut: {duration_s:.2f} of the {stated_s:.2f} s that its list states")
