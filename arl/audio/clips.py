"""Clips of a shard in memory: decoded ahead of the device, and batched by length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from arl.audio.io import load as load_audio
from arl.errors import ArlError
from arl.shards import columns
from arl.shards.reader import Sample


@dataclass(frozen=True)
class Clip:
    """One utterance's samples [n] at the frontend's rate, or why there are none, and where it is."""

    key: str
    where: str
    wave: Any = None
    error: str = ""


def load_shard(samples: Iterable[Sample], sample_rate: int) -> list[Clip]:
    """The decoded audio of a shard: work for the CPU, done ahead of the device's."""
    clips = []
    for sample in samples:
        audio = next((sample.members[ext] for ext in columns.AUDIO if ext in sample.members), None)
        try:
            if audio is None:
                raise ArlError("no audio member (.wav, .flac or .mp3); these are not audio shards")
            clips.append(Clip(sample.key, sample.where, load_audio(audio, sample_rate)))
        except ArlError as error:
            clips.append(Clip(sample.key, sample.where, error=str(error)))
    return clips


def length_buckets(seconds: dict[str, float], batch_s: float) -> Iterator[list[str]]:
    """Keys of similar length, at most `batch_s` seconds a batch with padding counted; a longer clip goes alone."""
    batch: list[str] = []
    for key in sorted(seconds, key=lambda k: (seconds[k], k)):
        if batch and seconds[key] * (len(batch) + 1) > batch_s:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch
