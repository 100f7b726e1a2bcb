"""The audio of an evaluation's utterances, found through its record, as data that a page can hold.

    clips = recordings(folder, {("", "a-17")}, shards=[])          # {("", "a-17"): Clip}
    clips[("", "a-17")].uri()                                      # "data:audio/flac;base64,…"

Left out: audio in formats of its own; shards hold .flac, .wav and .mp3, which browsers play.
"""

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from arl.audio.io import encode_flac, load
from arl.errors import ArlError
from arl.evaluation.page.compared import Compared
from arl.rewards.reading import WAVE
from arl.shards.columns import AUDIO, META
from arl.shards.lineage import find_column
from arl.shards.paths import expand
from arl.shards.place import AudioSlice
from arl.shards.reader import scan_shard
from arl.shards.record import read_record

Name = tuple[str, str]  # set and key of an utterance
TYPES = {"flac": "audio/flac", "wav": "audio/wav", "mp3": "audio/mpeg"}


@dataclass(frozen=True)
class Clip:
    """An audio file in its shard, or a file of its own."""

    form: str
    place: AudioSlice

    def read(self) -> bytes:
        return self.place.read()

    def uri(self) -> str:
        """The file as a data: URI; a .wav becomes 16 kHz FLAC, half as large. ArlError where it cannot be read."""
        data, form = self.read(), self.form
        if form == "wav":
            data, form = encode_flac(load(data, name=self.place.path)), "flac"
        return data_uri(TYPES[form], data)


def data_uri(kind: str, data: bytes) -> str:
    """kind: the media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def recordings(found: Compared, wanted: Collection[Name], shards: Sequence[str]) -> dict[Name, Clip]:
    """The clips that were recognised. shards: where they are, [] to follow the evaluation's record."""
    sources = {"": list(shards)} if shards else _sources(found.b) or _sources(found.a) or _beside(found.b)
    return _pick(sources, wanted, AUDIO, lineage=True, any_set=bool(shards))


def waves(folder: Path, wanted: Collection[Name]) -> dict[Name, Clip]:
    """The first waveform of each utterance that an evaluation of synthesis was made of."""
    sources = _sources(folder) or ({"": [str(folder / "wav")]} if (folder / "wav").is_dir() else {})
    return _pick(sources, wanted, (), lineage=False, any_set=False)


def _sources(folder: Path) -> dict[str, list[str]]:
    """Set name → its shards, by the evaluation's record; {} without one."""
    for line in read_record(folder):
        return {name: [str(folder / path) for path in paths] for name, paths in line.get("sets", {}).items()}
    return {}


def _beside(folder: Path) -> dict[str, list[str]]:
    """The loop's own test set, for evaluations of earlier versions, which have no record."""
    embeddings = folder.parent.parent / "emb" / "test"
    return {"": [str(embeddings)]} if embeddings.is_dir() else {}


def _pick(
    sources: Mapping[str, Sequence[str]], wanted: Collection[Name], forms: Collection[str], lineage: bool, any_set: bool
) -> dict[Name, Clip]:
    """forms: members to take, () for the first waveform of a group. any_set: a key means the same in every set. What
    is no longer there is left out."""
    keys = {key: (name, key) for name, key in wanted}
    found: dict[Name, Clip] = {}
    for name, paths in sources.items():
        for path in _shards(paths, lineage):
            for key, clip in _clips(path, forms):
                full = keys.get(key, (name, key)) if any_set else (name, key)
                if full in wanted:
                    found.setdefault(full, clip)
    return found


def _shards(paths: Sequence[str], lineage: bool) -> Iterator[Path]:
    for word in paths:
        with suppress(ArlError):
            for path in expand([word]):
                with suppress(ArlError):
                    yield (find_column([path], META) or path) if lineage else path


def _clips(path: Path, forms: Collection[str]) -> Iterator[tuple[str, Clip]]:
    """(key, clip) of every sample of a shard that has one; until where the shard is damaged."""
    with suppress(ArlError):
        for sample in scan_shard(path, lambda extension: False):
            for extension in sorted(sample.offsets):
                wave = WAVE.fullmatch(extension)
                if extension in forms or (not forms and wave and int(wave[1]) == 0):
                    place, offset, size = sample.offsets[extension]
                    yield sample.key, Clip(extension.rpartition(".")[2], AudioSlice(str(place), offset, size))
                    break
