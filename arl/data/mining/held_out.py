"""What a test set holds, so that no training set holds it too: by text, by clip, and by the clips joined in it.

    held_out = Held.read(["data/test"])
    held_out.reason(candidate)      # "text", "clip", "source clip", or None: it may be trained on

Texts are compared normalised, clips by the digest of their samples. A clip that was joined from others
(`arl data --concatenate`) shares with a test set what any of its parts shares: their texts and their keys. Left out:
the keys of clips that are not joined, which mean nothing across corpora.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from arl.audio.digest import clip_digest
from arl.data.corpora.split import check_disjoint, texts_of
from arl.data.mining.pool import Candidate, audio_shard
from arl.shards.columns import AUDIO
from arl.shards.paths import expand
from arl.shards.reader import Sample, read_shard
from arl.shards.rows import Meta


@dataclass(frozen=True)
class Held:
    """Normalised texts, digests of clips, keys of samples, and keys of the clips that samples were joined from."""

    texts: set[str] = field(default_factory=set)
    clips: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, specs: Sequence[str]) -> "Held":
        """What is in these shards, every byte of which is checked; embeddings lead to their audio."""
        held = cls()
        for shard in expand(specs) if specs else ():
            for sample in read_shard(audio_shard(shard)):
                held.add(sample)
        return held

    def add(self, sample: Sample) -> None:
        """Raises ArlError for a sample without text, whose text could not be compared."""
        meta = Meta.of(sample)
        self.texts.update(texts_of(meta))
        self.keys.add(sample.key)
        self.sources.update(meta.concatenated)
        for name in AUDIO:
            if name in sample.members:
                self.clips.add(clip_digest(sample.members[name], f"{sample.where}: {name}"))

    def reason(self, candidate: Candidate) -> str | None:
        """By what the candidate is in here: "text", "clip" or "source clip"; None when it is not."""
        if self.texts & candidate.texts:
            return "text"
        if candidate.clip in self.clips:
            return "clip"
        own = {part.key for part in candidate.parts}
        if candidate.key in self.sources or own & (self.keys | self.sources):
            return "source clip"
        return None

    def require_apart(self, name: str, other: "Held") -> None:
        """Raises ArlError when `other`, called `name`, shares anything with this test set."""
        pairs = {
            "texts": (self.texts, other.texts),
            "clips": (self.clips, other.clips),
            "source clips": (self.sources, other.keys | other.sources),
            "source clips of joined ones": (self.keys, other.sources),
        }
        for what, (held, found) in pairs.items():
            check_disjoint({name: found, "--against": held}, what)
