"""Splitting a corpus so that no text is in two splits, and if it is asked, no speaker.

Utterances are grouped by normalised text (`arl.text.normalise`), and whole groups are dealt out: the groups in a
seeded random order fill the first split up to its share of the utterances, then the second, and so on. By speaker, the
groups are speakers, dealt out likewise or named; a text that two splits would share stays in the first that has it.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from arl.data.corpora.utterance import CorpusUtterance
from arl.errors import ArlError, UsageError
from arl.shards.paths import expand
from arl.shards.reader import read_shard
from arl.shards.rows import Meta
from arl.text.normalise import normalise

REST = "rest"
TRAIN = "train"  # gets what the named shares leave
T = TypeVar("T")


def parse(spec: str) -> dict[str, float]:
    """'test=0.4,train=0.6' -> shares that add up to 1.

    One of them may be `rest`, and 'test=0.4' alone means 'test=0.4,train=rest'. Raises UsageError.
    """
    shares: dict[str, float | None] = {}
    for part in spec.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if not name or not name.replace("_", "").replace("-", "").isalnum() or name in shares:
            raise UsageError(f"--split {spec}: {name!r} cannot name a split; write test=0.4,train=0.6")
        try:
            shares[name] = None if value == REST else float(value)
        except ValueError as error:
            raise UsageError(f"--split {spec}: {value!r} is not a share; write {name}=0.4 or {name}={REST}") from error
    given = sum(share for share in shares.values() if share is not None)
    if given < 1 - 1e-6 and None not in shares.values() and TRAIN not in shares:
        shares[TRAIN] = None
    open_names = [name for name, share in shares.items() if share is None]
    if any(share is not None and not 0 < share <= 1 for share in shares.values()) or len(open_names) > 1:
        raise UsageError(f"--split {spec}: shares are above 0 and at most 1, and one may be {REST}")
    if given >= 1 if open_names else abs(given - 1) > 1e-6:
        raise UsageError(f"--split {spec}: the shares add up to {given:g}, not 1")
    return {name: 1 - given if share is None else share for name, share in shares.items()}


def parse_speakers(spec: str) -> dict[str, tuple[str, ...]] | None:
    """'test=ann+bob,train=rest' -> speakers by split, () for the rest; None where it gives shares. UsageError."""
    named: dict[str, tuple[str, ...]] = {}
    for part in spec.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if value.replace(".", "", 1).isdigit():
            return None
        speakers = () if value == REST else tuple(value.split("+"))
        if not name.replace("_", "").replace("-", "").isalnum() or name in named or "" in speakers:
            raise UsageError(f"--split {spec}: {part!r} names no speakers; write test=ann+bob,train={REST}")
        named[name] = speakers
    everyone = [speaker for speakers in named.values() for speaker in speakers]
    if twice := sorted({speaker for speaker in everyone if everyone.count(speaker) > 1}):
        raise UsageError(f"--split {spec}: speaker {twice[0]} is in two splits")
    if list(named.values()).count(()) > 1:
        raise UsageError(f"--split {spec}: one split may be {REST}")
    return named


def names(shares: Mapping[str, float], by_speaker: str) -> list[str]:
    """The splits, in order."""
    return list((parse_speakers(by_speaker) or parse(by_speaker)) if by_speaker else shares)


def deal_speakers(utterances: Sequence[CorpusUtterance], spec: str, seed: int) -> dict[str, list[CorpusUtterance]]:
    """Utterances by split, no speaker and no normalised text in two; those whose speaker is not known are in none.

    ArlError for a speaker that says nothing.
    """
    known = [utterance for utterance in utterances if utterance.speaker]
    named = parse_speakers(spec)
    if named is None:
        parts = deal(known, parse(spec), lambda utterance: utterance.speaker, seed)
    else:
        if missing := sorted({s for speakers in named.values() for s in speakers} - {u.speaker for u in known}):
            raise ArlError(f"--split {spec}: no utterance of speaker {missing[0]}")
        home = {speaker: name for name, speakers in named.items() for speaker in speakers}
        rest = next((name for name, speakers in named.items() if not speakers), "")
        parts = {name: [u for u in known if home.get(u.speaker, rest) == name] for name in named}
    taken: set[str] = set()
    for name, part in parts.items():
        parts[name] = [utterance for utterance in part if normalised(utterance) not in taken]
        taken.update(map(normalised, part))
    return parts


def normalised(utterance: CorpusUtterance) -> str:
    """The text by which two utterances are the same."""
    return same_text(utterance.text, utterance.lang)


def same_text(text: str, lang: str) -> str:
    """The normalised text without words that are only punctuation, which Whisper's normaliser makes of "..."."""
    return " ".join(word for word in normalise(text, lang).split() if any(char.isalnum() for char in word))


def deal(items: Sequence[T], shares: Mapping[str, float], text: Callable[[T], str], seed: int) -> dict[str, list[T]]:
    """Items by split; in each split they keep the order given. Equal `text` means the same split."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[text(item)].append(index)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    names = list(shares)
    chosen: dict[str, list[int]] = {name: [] for name in names}
    dealt, filled, current = 0, shares[names[0]], 0
    for group in order:
        while current < len(names) - 1 and dealt >= round(filled * len(items)):
            current += 1
            filled += shares[names[current]]
        chosen[names[current]].extend(groups[group])
        dealt += len(groups[group])
    return {name: [items[index] for index in sorted(indices)] for name, indices in chosen.items()}


def texts_of(meta: Meta) -> set[str]:
    """The normalised text of a sample, and those of the clips that it was joined from."""
    return {same_text(text, meta.lang) for text in [meta.text, *meta.texts]}


def texts_in(specs: Iterable[str | Path]) -> set[str]:
    """The normalised texts in existing shards, every byte of which is checked."""
    texts = set()
    for shard in expand(list(specs)):
        for sample in read_shard(shard):
            texts.update(texts_of(Meta.of(sample)))
    return texts


def read_back(shards: Sequence[Path]) -> tuple[int, set[str], set[str]]:
    """(samples, normalised texts, speakers) of shards just written, every byte of which is checked."""
    texts, speakers, n_samples = set(), set(), 0
    for shard in shards:
        for sample in read_shard(shard):
            meta = Meta.of(sample)
            texts.update(texts_of(meta))
            speakers.add(meta.speaker)
            n_samples += 1
    return n_samples, texts, speakers


def check_disjoint(texts: Mapping[str, set[str]], what: str = "texts") -> None:
    """Raises ArlError naming a text (or `what` they hold) that two of the sets share."""
    names = list(texts)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if shared := sorted(texts[first] & texts[second]):
                raise ArlError(f"{first} and {second} share {len(shared)} {what}, such as {shared[0]!r}: not written")
