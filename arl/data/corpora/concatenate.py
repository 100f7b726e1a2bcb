"""Long clips out of short ones: neighbouring utterances of one speaker and language, joined with silence between.

For corpora that have no long audio. Neighbours are those that follow each other in the order given; each is used once.
A clip's length is drawn, seeded, between the limits. The silence is recorded, not digital: the quietest stretch around
the seam. What was joined stays known: `concatenated` (keys) and `texts` in the metadata. Left out: cross-fades, and
matching the level of different recordings.

    arl data --asterisk --max-s 10 --concatenate 20-28 -o data/long
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from arl.audio.io import SAMPLE_RATE
from arl.data.corpora.prepare import read
from arl.data.corpora.utterance import CorpusUtterance, Part
from arl.errors import ArlError, UsageError

GAP_S = 0.3
EDGE_S, GRAIN_S = 0.5, 0.05  # silence is looked for this near a seam, in stretches of this length


def parse(spec: str) -> tuple[float, float]:
    """'20-28' → (20.0, 28.0), seconds. Raises UsageError."""
    try:
        low_s, high_s = (float(part) for part in spec.split("-"))
        if not 0 < low_s < high_s < float("inf"):
            raise ValueError
    except ValueError as error:
        raise UsageError(f"--concatenate {spec}: seconds, the lower first, as in 20-28") from error
    return low_s, high_s


def concatenate(
    utterances: Iterable[CorpusUtterance], low_s: float, high_s: float, gap_s: float = GAP_S, seed: int = 1
) -> Iterator[CorpusUtterance]:
    """Clips of `low_s` to `high_s` seconds; an utterance that already is one comes as it is, a longer one not at all.

    Utterances that find too few neighbours are left out. One whose audio cannot be read comes alone, unchanged, so
    that its reader finds the error.
    """
    rng = random.Random(seed)
    open_clips: dict[tuple[str, str], _Clip] = {}
    for utterance in utterances:
        try:
            length_s = duration_s(utterance, high_s)
        except (ArlError, OSError):
            yield utterance
            continue
        if length_s > high_s:
            continue
        if length_s >= low_s:
            yield utterance
            continue
        clip = open_clips.setdefault((utterance.speaker, utterance.lang), _Clip(gap_s, rng.uniform(low_s, high_s)))
        if clip.with_one_more(length_s) > high_s and clip.length_s >= low_s:
            yield clip.close(rng.uniform(low_s, high_s))
        clip.add(utterance, length_s, high_s)
        if clip.length_s >= clip.target_s:
            yield clip.close(rng.uniform(low_s, high_s))
    yield from (clip.close(0.0) for clip in open_clips.values() if clip.length_s >= low_s)


class _Clip:
    """The utterances of one speaker that wait to become a clip of about `target_s` seconds."""

    def __init__(self, gap_s: float, target_s: float) -> None:
        self.gap_s, self.target_s = gap_s, target_s
        self.parts: list[tuple[CorpusUtterance, float]] = []

    @property
    def length_s(self) -> float:
        return sum(length_s for _, length_s in self.parts) + self.gap_s * max(0, len(self.parts) - 1)

    def with_one_more(self, length_s: float) -> float:
        return self.length_s + (self.gap_s if self.parts else 0.0) + length_s

    def add(self, utterance: CorpusUtterance, length_s: float, high_s: float) -> None:
        """Adds it; the earliest parts go where they and it are too long together and too short without it."""
        while self.parts and self.with_one_more(length_s) > high_s:
            del self.parts[0]
        self.parts.append((utterance, length_s))

    def close(self, target_s: float) -> CorpusUtterance:
        """The clip; an empty one for `target_s` seconds is left."""
        joined = join([utterance for utterance, _ in self.parts], self.gap_s)
        self.parts, self.target_s = [], target_s
        return joined


def join(utterances: list[CorpusUtterance], gap_s: float = GAP_S) -> CorpusUtterance:
    """One utterance of several: texts in order, keywords united; its audio is made when it is asked for."""
    first = utterances[0]
    if len(utterances) == 1:
        return first
    keywords = tuple(dict.fromkeys(word for utterance in utterances for word in utterance.keywords))
    return replace(
        first,
        key=f"{first.key}-x{len(utterances)}",
        text=" ".join(utterance.text for utterance in utterances),
        audio=partial(samples, tuple(utterances), gap_s),
        start_s=0.0,
        end_s=None,
        name=f"joined from {', '.join(utterance.label for utterance in utterances)}",
        keywords=keywords,
        parts=tuple(part for each in utterances for part in each.parts or [Part(each.key, each.text)]),
    )


def samples(utterances: tuple[CorpusUtterance, ...], gap_s: float) -> np.ndarray:
    """float32 [n] at 16 kHz: the clips with `gap_s` seconds of silence between. Raises ArlError as reading does."""
    waves = [read(utterance)[1] for utterance in utterances]
    pieces = [waves[0]]
    for before, after in zip(waves, waves[1:], strict=False):
        pieces += [silence(before, after, round(gap_s * SAMPLE_RATE)), after]
    return np.concatenate(pieces)


def silence(before: np.ndarray, after: np.ndarray, n_samples: int) -> np.ndarray:
    """float32 [n_samples]: the quietest stretch of one clip's end or the other's start, laid back and forth."""
    edge, grain = round(EDGE_S * SAMPLE_RATE), round(GRAIN_S * SAMPLE_RATE)
    stretches = [
        near[start : start + grain]
        for near in (before[-edge:], after[:edge])
        for start in range(0, max(1, len(near) - grain + 1), grain // 2)
    ]
    quietest = min(stretches, key=lambda stretch: float(np.square(stretch).mean()))
    there_and_back = np.concatenate([quietest, quietest[::-1]])
    return np.resize(there_and_back, n_samples)


def duration_s(utterance: CorpusUtterance, most_s: float | None = None) -> float:
    """Seconds of audio, decoded: a header or a list may say anything. Of a clip longer than `most_s` no more than a
    second beyond it. Raises ArlError and OSError as reading does."""
    return len(read(utterance, most_s)[1]) / SAMPLE_RATE
