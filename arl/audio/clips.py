"""Clips of a shard in memory: decoded ahead of the device, and batched by length."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arl.audio.io import load as load_audio
from arl.errors import ArlError
from arl.shards import columns
from arl.shards.reader import Sample


@dataclass(frozen=True)
class LoadedClip:
    """One utterance's samples [n] at the frontend's rate, or why there are none, and where it is."""

    key: str
    where: str
    wave: Any = None
    error: str = ""


def load_shard(samples: Iterable[Sample], sample_rate: int) -> list[LoadedClip]:
    """The decoded audio of a shard: work for the CPU, done ahead of the device's."""
    clips = []
    for sample in samples:
        audio = next((sample.members[ext] for ext in columns.AUDIO if ext in sample.members), None)
        try:
            if audio is None:
                raise ArlError("no audio member (.wav, .flac or .mp3); these are not audio shards")
            clips.append(LoadedClip(sample.key, sample.where, load_audio(audio, sample_rate)))
        except ArlError as error:
            clips.append(LoadedClip(sample.key, sample.where, error=str(error)))
    return clips


def length_batches(
    lengths: Mapping[str, float], most: float, stretch: float = math.inf, most_clips: int = 0
) -> Iterator[list[str]]:
    """Keys by ascending length: at most `most` a batch with padding counted; a longer clip goes alone.

    stretch: a batch's longest over its shortest is at most this, so clips of length 0 are by themselves. most_clips: a
    batch has no more; 0: any number.
    """
    batch: list[str] = []
    for key in sorted(lengths, key=lambda key: (lengths[key], key)):
        length = lengths[key]
        is_full = length * (len(batch) + 1) > most or len(batch) == most_clips
        if batch and (is_full or length > stretch * lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch
