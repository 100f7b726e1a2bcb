"""The utterances that sets are chosen from: all rows of the given shards, with where their bytes lie.

Given audio shards, or shards of a later stage (embeddings) whose records lead to the audio: its rows are then those of
the later stage that were encoded, and embeddings can be copied with the audio. Every byte is read once and proved.

    for candidate in read_pool(["data/train"], FailureBudget(0), counts): ...
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from arl.audio.digest import clip_digest
from arl.data.corpora.split import same_text
from arl.data.corpora.utterance import Part
from arl.errors import ArlError
from arl.runtime.budget import FailureBudget
from arl.shards.columns import AUDIO, EMB, META, PROMPT
from arl.shards.lineage import find_column
from arl.shards.paths import expand
from arl.shards.place import AudioSlice
from arl.shards.reader import Sample, read_shard
from arl.shards.rows import Meta, failed_to_encode

Place = tuple[Path, int, int]  # shard, byte offset, bytes


@dataclass(frozen=True)
class Candidate:
    """One utterance of the pool.

    clip: the digest of its audio (`arl.audio.digest`). audio, embeddings: extension to place, of all members of its
    audio sample, and of its `.emb.safetensors` and `.prompt.json` where embeddings were given.
    """

    key: str
    meta: Meta
    clip: str
    shard: Path
    audio: Mapping[str, Place]
    embeddings: Mapping[str, Place] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.meta.text

    @property
    def lang(self) -> str:
        return self.meta.lang

    @property
    def duration_s(self) -> float:
        return self.meta.duration_s or 0.0

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it was joined from (`arl.data.corpora.concatenate`); () for most."""
        pairs = zip(self.meta.concatenated, self.meta.texts, strict=True)
        return tuple(Part(key, text) for key, text in pairs)

    @cached_property
    def texts(self) -> frozenset[str]:
        """Its normalised text, and those of its parts."""
        return frozenset(same_text(text, self.lang) for text in (self.text, *(part.text for part in self.parts)))

    def members(self) -> dict[str, bytes]:
        """Its audio sample, as it is."""
        return read_members(self.audio)


def read_members(places: Mapping[str, Place]) -> dict[str, bytes]:
    """The members that lie at these places."""
    return {name: AudioSlice(str(path), offset, size).read() for name, (path, offset, size) in places.items()}


def audio_shard(shard: Path) -> Path:
    """The shard itself when it has the `.json` member, else its audio shard, which the stages' records lead to."""
    return find_column([shard], META) or shard


def read_pool(specs: Sequence[str], budget: FailureBudget, counts: Counter[str]) -> Iterator[Candidate]:
    """The utterances of the shards, one source after another, each clip once: of equal clips the first.

    Bad samples are spent from the budget. counts: gets `not encoded` and `the same clip again`. Raises ArlError for a
    key that comes twice, and where a later stage has a row that its audio shard lacks.
    """
    shards: dict[str, Path] = {}
    clips: set[str] = set()
    for shard in expand(specs):
        for candidate in _candidates(shard, budget, counts):
            if (other := shards.setdefault(candidate.key, candidate.shard)) != candidate.shard:
                raise ArlError(
                    f"{candidate.shard}: sample {candidate.key!r} is also in {other}; keys name utterances over all "
                    "shards given, so mine these apart"
                )
            if candidate.clip in clips:
                counts["the same clip again"] += 1
                continue
            clips.add(candidate.clip)
            yield candidate


def _candidates(shard: Path, budget: FailureBudget, counts: Counter[str]) -> Iterator[Candidate]:
    audio = audio_shard(shard)
    rows = None if audio == shard else _encoded(shard)
    for sample in read_shard(audio):
        embeddings = {} if rows is None else rows.pop(sample.key, None)
        if embeddings is None:
            counts["not encoded"] += 1
            continue
        try:
            yield _candidate(sample, audio, embeddings)
        except ArlError as error:
            budget.spend(str(error))
    if rows:
        raise ArlError(
            f"{audio}: no sample {next(iter(rows))!r}, which {shard} has; "
            "if these are not its audio shards, give the audio: --shards data/train"
        )


def _encoded(shard: Path) -> dict[str, dict[str, Place]]:
    """The places of the embeddings by key, of the rows that are no failures; empty places in shards of other stages."""
    return {
        sample.key: {name: place for name, place in sample.offsets.items() if name in (EMB, PROMPT)}
        for sample in read_shard(shard)
        if PROMPT not in sample.members or not failed_to_encode(sample)
    }


def _candidate(sample: Sample, audio: Path, embeddings: Mapping[str, Place]) -> Candidate:
    """Raises ArlError when the sample lacks what every utterance has."""
    meta = Meta.of(sample)
    kind = next((name for name in AUDIO if name in sample.members), None)
    if kind is None:
        raise ArlError(f"{sample.where}: no audio member (.{', .'.join(AUDIO)}), only {', '.join(sample.members)}")
    if not meta.text.strip():
        raise ArlError(f"{sample.where}: {META} has no text")
    if meta.duration_s is None:
        raise ArlError(f"{sample.where}: {META} has no duration_s")
    clip = clip_digest(sample.members[kind], f"{sample.where}: {kind}")
    return Candidate(sample.key, meta, clip, audio, sample.offsets, embeddings)
