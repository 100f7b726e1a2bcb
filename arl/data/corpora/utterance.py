"""What every corpus yields: one utterance, before it is written to a shard.

A corpus lists its utterances in a fixed order and has read texts but no audio yet: audio is loaded one utterance at a
time, by `arl.data.corpora.prepare`. A list entry that is no utterance becomes a `Bad`, so that one broken line does not
stop the rest: `arl data` counts them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Audio = Path | bytes | np.ndarray | Callable[[], "bytes | np.ndarray"]


class Part(NamedTuple):
    """One of the clips that a long one was joined from."""

    key: str
    text: str


@dataclass(frozen=True)
class CorpusUtterance:
    """One clip and its reference transcript.

    audio: a file, a file's content, samples (float32 [n] at 16 kHz), or a function that makes one of the two latter
    (it must pickle: it may be called in another process); None for a text to speak. start_s/end_s: the segment of a
    longer recording, in seconds. key: names the sample; made safe and unique by `unique`. name: the audio's name in
    errors, whose extension tells a headerless format. keywords: what a keyword reward looks for. parts: what it was
    joined from, if it was (`arl.data.corpora.concatenate`). stated_s: seconds that the whole recording has by
    its list; a shorter one was cut. channel: which one is heard, from 0; None: their average. speed: at which it is
    played.
    """

    key: str
    text: str
    audio: Audio | None
    lang: str = ""
    speaker: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    name: str = ""
    keywords: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    stated_s: float | None = None
    channel: int | None = None
    speed: float = 1.0

    @property
    def label(self) -> str:
        """How errors name it: the key, and the file where there is one."""
        where = self.name or (str(self.audio) if isinstance(self.audio, Path) else "")
        return f"{self.key} ({where})" if where else self.key


@dataclass(frozen=True)
class Bad:
    """A sample that cannot be used: `where` it is (file, line or key), and the `reason`, on one line."""

    where: str
    reason: str


Entry = CorpusUtterance | Bad


@dataclass(frozen=True)
class SourceOptions:
    """Flags of the sources. audio_root: where relative paths of lists start. allow_pipes: run the commands in a list.
    seed: of speech that is made."""

    audio_root: Path | None = None
    allow_pipes: bool = False
    seed: int = 1


DEFAULTS = SourceOptions()


@dataclass(frozen=True)
class Corpus:
    """A source of utterances.

    name: what it is, for messages. entries: lists the utterances; it is given an empty scratch folder that lives as
    long as the command. files: inputs whose sizes and times tell whether anything has changed. identity: what else
    tells it (JSON). licence: goes into OUT/LICENSE.txt.
    """

    name: str
    entries: Callable[[Path], Iterable[Entry]]
    files: Sequence[Path] = ()
    identity: Any = field(default=None)
    licence: str = ""


def safe_key(key: str) -> str:
    """A key that can name a tar member: a dot would split the sample, a slash would make folders."""
    return re.sub(r"[^\w-]+", "-", key)[:200].strip("-_") or "utterance"


def unique(utterances: Iterable[CorpusUtterance]) -> Iterator[CorpusUtterance]:
    """The same utterances with safe keys; a key met before gets -2, -3, … in the order given."""
    taken: set[str] = set()
    last_number: dict[str, int] = {}
    for utterance in utterances:
        base = key = safe_key(utterance.key)
        while key in taken:
            last_number[base] = last_number.get(base, 1) + 1
            key = f"{base}-{last_number[base]}"
        taken.add(key)
        yield replace(utterance, key=key)


def one_line(text: str) -> str:
    """A transcript with its whitespace collapsed to single spaces."""
    return " ".join(text.split())
