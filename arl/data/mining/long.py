"""D2, long audio: utterances longer than so many seconds, or clips joined from neighbours where the corpus has none.

What is joined is what no other set has taken, in the pool's order, by `arl.data.corpora.concatenate`; the new sample's
`.json` names the clips in it (`concatenated`, `texts`).

    long(candidates, 20.0)      # {"utt-7": {"duration_s": 23.4}}
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from arl.data.corpora.concatenate import concatenate
from arl.data.corpora.split import same_text
from arl.data.corpora.utterance import CorpusUtterance
from arl.data.mining.pool import Candidate
from arl.shards.columns import AUDIO
from arl.shards.place import AudioSlice

Join = Literal["auto", "always", "never"]  # auto: when no utterance is long enough, or fewer than the size asked
AUTO: Join
ALWAYS: Join
NEVER: Join
AUTO, ALWAYS, NEVER = "auto", "always", "never"
ABOVE_S = 0.01  # joined clips are longer than the limit, also once rounded


def long(candidates: Iterable[Candidate], longer_s: float) -> dict[str, dict[str, Any]]:
    """The utterances of D2 with their reasons."""
    return {each.key: reason(each) for each in candidates if each.duration_s > longer_s}


def reason(candidate: Candidate) -> dict[str, Any]:
    parts = [part.key for part in candidate.parts]
    return {"duration_s": candidate.duration_s} | ({"concatenated": parts} if parts else {})


def wants_joined(join: str, n_qualified: int, n_chosen: int, size: int | None) -> bool:
    """Whether to join, where so many utterances are long enough, and so many of them were chosen."""
    too_few = not n_qualified if size is None else n_chosen < size
    return join == ALWAYS or (join == AUTO and too_few)


def joined(
    candidates: Iterable[Candidate], longer_s: float, up_to_s: float, seed: int, taken: Collection[str]
) -> list[CorpusUtterance]:
    """Clips of `longer_s` to `up_to_s` seconds from the candidates that are shorter, each used once.

    taken: keys that the new ones must not have. A candidate that cannot be read is in none.
    """
    sources = [_utterance(each) for each in candidates if each.duration_s <= longer_s]
    clips = [clip for clip in concatenate(sources, longer_s + ABOVE_S, up_to_s, seed=seed) if clip.parts]
    keys = set(taken)
    for number, clip in enumerate(clips):
        key = clip.key
        while key in keys:
            key += "-x"
        keys.add(key)
        clips[number] = replace(clip, key=key)
    return clips


def texts(clip: CorpusUtterance) -> set[str]:
    """The normalised texts of a joined clip: its own, and those of its parts."""
    return {same_text(text, clip.lang) for text in (clip.text, *(part.text for part in clip.parts))}


def _utterance(candidate: Candidate) -> CorpusUtterance:
    kind = next(name for name in AUDIO if name in candidate.audio)
    path, offset, size = candidate.audio[kind]
    return CorpusUtterance(
        candidate.key,
        candidate.text,
        AudioSlice(str(path), offset, size).read,
        candidate.lang,
        candidate.meta.speaker,
        name=f"{candidate.shard}: sample {candidate.key}",
        keywords=tuple(candidate.meta.keywords),
        parts=candidate.parts,
    )


def advice(candidates: Sequence[Candidate], longer_s: float, join: str) -> str:
    """Why D2 is empty, and what would give some."""
    longest = max(each.duration_s for each in candidates)
    if longest > longer_s or join != NEVER:
        nothing = f"nothing longer than {longer_s:g} s can be made of what the other sets leave"
        return f"{nothing}: give them a --size, or --overlap"
    lower = max(0.0, int(longest * 10 - 1) / 10)
    return f"the longest utterance has {longest:g} s: --longer-s {lower:g}, or --join auto to join neighbours"
