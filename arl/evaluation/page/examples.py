"""Before and after, utterance by utterance: those that changed most, word by word, with the audio to play.

    for example in examples(compared(run), shards=[]).better: ...

Recognition plays the clip that was recognised, synthesis both versions, with their spectrograms. Of synthesis the first
hypothesis of each utterance is shown. Audio is added until the page has `AUDIO_BYTES` of it. Left out: utterances that
did not change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arl.audio.io import SAMPLE_RATE, load
from arl.errors import ArlError
from arl.evaluation.metric import Row
from arl.evaluation.page.clips import Clip, Name, data_uri, recordings, waves
from arl.evaluation.page.compared import Compared
from arl.evaluation.page.spectrogram import pitch_line, png
from arl.evaluation.recognition.alignment import Column, Step, merge, operation
from arl.evaluation.recognition.kind import RECOGNITION
from arl.text.normalise import open_brackets
from arl.text.wer import align

BETTER, WORSE = 8, 4  # examples shown of each
AUDIO_BYTES = 8_000_000  # of base64


@dataclass(frozen=True)
class Player:
    """Audio to play. picture: of a spectrogram, a data: URI. pitch: the path of F0 over it, in per cent. problem: why
    there is none to play."""

    label: str
    uri: str = ""
    seconds: float | None = None
    picture: str = ""
    pitch: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Word:
    """A column of the alignment. cells: (text, operation) of the reference, before and after; "" where no word is."""

    cells: list[tuple[str, str]]


@dataclass(frozen=True)
class Example:
    """An utterance. texts: reference, before, after. errors: of before and after, None where nothing was heard."""

    key: str
    texts: list[str]
    errors: tuple[int, int] | None
    n_words: int
    words: list[Word]
    players: list[Player] = field(default_factory=list)


@dataclass(frozen=True)
class Examples:
    """counts: how many utterances became better, worse, and stayed. others: shown where none has
    changed, or no errors are known."""

    better: list[Example]
    worse: list[Example]
    others: list[Example]
    counts: dict[str, int]


@dataclass(frozen=True)
class Heard:
    """What is compared of an utterance: its name, the reference, both answers and their alignments."""

    name: Name
    texts: list[str]
    alignments: list[Sequence[Step]]

    @property
    def errors(self) -> list[int]:
        return [sum(step[0] != "equal" for step in steps) for steps in self.alignments]

    @property
    def change(self) -> int:
        return self.errors[1] - self.errors[0] if self.alignments else 0


def examples(found: Compared, shards: Sequence[str]) -> Examples:
    """shards: audio shards of recognition, [] to follow the evaluation's record."""
    is_recognition = found.kind is RECOGNITION
    all_heard = [(_recognised if is_recognition else _spoken)(a, b) for a, b in zip(found.old, found.new, strict=True)]
    ranked = sorted(all_heard, key=lambda one: (one.change, one.name))
    better = [one for one in ranked if one.change < 0][:BETTER]
    worse = [one for one in reversed(ranked) if one.change > 0][:WORSE]
    others = [] if better or worse else all_heard[:BETTER]
    wanted = {one.name for one in [*better, *worse, *others]}
    if is_recognition:
        players = _Players([("the clip", recordings(found, wanted, shards))], has_pictures=False)
    else:
        players = _Players([("before", waves(found.a, wanted)), ("after", waves(found.b, wanted))], has_pictures=True)
    changes = [one.change for one in all_heard]
    counts = {
        "better": sum(change < 0 for change in changes), "worse": sum(change > 0 for change in changes),
        "same": sum(change == 0 for change in changes),
    }  # fmt: skip
    shown = [[_example(one, players) for one in some] for some in (better, worse, others)]
    return Examples(shown[0], shown[1], shown[2], counts)


def _recognised(a: Row, b: Row) -> Heard:
    texts = [b["reference"], a["hypothesis"], b["hypothesis"]]
    return Heard((b.get("set", ""), b["key"]), texts, [a["alignment"], b["alignment"]])


def _spoken(a: Row, b: Row) -> Heard:
    """The judge's transcripts of the first hypotheses."""
    heard = [row["hyps"][0].get("heard") if row["hyps"] else None for row in (a, b)]
    texts = [b["reference"], *(text or "" for text in heard)]
    name = (b.get("set", ""), b["key"])
    if None in heard:
        return Heard(name, texts, [])
    reference, lang = b["reference"], b["lang"]
    return Heard(name, texts, [align(reference, open_brackets(str(text), reference), lang) for text in heard])


def _example(one: Heard, players: "_Players") -> Example:
    columns = merge(one.alignments) if one.alignments else []
    n_words = sum(column[0] is not None for column in columns)
    errors = (one.errors[0], one.errors[1]) if one.alignments else None
    words = [_word(column) for column in columns]
    return Example("/".join(filter(None, one.name)), one.texts, errors, n_words, words, list(players.of(one.name)))


def _word(column: Column) -> Word:
    reference = column[0]
    cells = [(reference or "", "equal" if reference else "none")]
    for heard in column[1:]:
        kind = "none" if reference is None and heard is None else operation(reference, heard)
        cells.append((heard or "", kind))
    return Word(cells)


class _Players:
    """Hands out players until the page is full. sources: (label, clips by name)."""

    def __init__(self, sources: Sequence[tuple[str, dict[Name, Clip]]], has_pictures: bool) -> None:
        self.sources, self.has_pictures, self.left = sources, has_pictures, AUDIO_BYTES

    def of(self, name: Name) -> Iterator[Player]:
        for label, clips in self.sources:
            clip = clips.get(name)
            if clip is None:
                yield Player(label, problem="no audio was found; name its shards with --shards")
                continue
            try:
                yield self._player(label, clip)
            except (ArlError, OSError) as error:
                yield Player(label, problem=f"cannot be read: {error}")

    def _player(self, label: str, clip: Clip) -> Player:
        uri = clip.uri()
        samples = load(clip.read(), name=Path(clip.place.path).name)
        seconds = len(samples) / SAMPLE_RATE
        if len(uri) > self.left:
            return Player(label, seconds=seconds, problem="left out, for the size of this page")
        self.left -= len(uri)
        if not self.has_pictures:
            return Player(label, uri, seconds)
        return Player(label, uri, seconds, data_uri("image/png", png(samples)), pitch_line(samples))
