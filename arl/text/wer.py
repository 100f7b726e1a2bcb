"""Word and character errors: substitutions, deletions, insertions, and the alignment behind them.

    word_errors("the cat sat", "the hat sat down", "en")  # 1 substitution, 1 insertion, 2 hits: rate 2/3

Both texts are normalised (`arl.text.normalise`). Languages written without spaces between words count
characters, spaces left out, so their rate is a CER. The alignment is rapidfuzz's, which is the one jiwer reports
(a test compares them), in microseconds. An empty reference has length 0: an empty hypothesis then has rate 0, and
k words have k insertions and rate k (the length in the denominator is at least 1). Left out: a mixed rate for
code-switched speech.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rapidfuzz.distance import Levenshtein

from arl.text.normalise import language, normalise

REMEMBERED = 1 << 12  # alignments: several reward programs look at the same group one after another
OPERATIONS = {"equal": "equal", "replace": "substitute", "delete": "delete", "insert": "insert"}
CHARACTER_LANGUAGES = frozenset({"zh", "cmn", "ja", "th", "yue", "lo", "km", "my"})


@dataclass(frozen=True)
class Errors:
    """Errors of one utterance, or of a corpus by adding them, in words or characters. `length` is the reference's."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def length(self) -> int:
        return self.substitutions + self.deletions + self.hits

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word; an empty reference counts as one word. May exceed 1."""
        return self.errors / max(1, self.length)

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


@functools.lru_cache(maxsize=1024)
def counts_characters(lang: str) -> bool:
    """Whether the error rate of this language is a character error rate."""
    return language(lang) in CHARACTER_LANGUAGES


def units(normalised: str, lang: str) -> list[str]:
    """What the errors of a normalised text are counted in: its words, or its characters without the spaces."""
    return list(normalised.replace(" ", "")) if counts_characters(lang) else normalised.split()


def word_errors(reference: str, hypothesis: str, lang: str) -> Errors:
    """The errors of one hypothesis: words, or characters where `counts_characters(lang)`."""
    return word_errors_batch([reference], [hypothesis], lang)[0]


def word_errors_batch(references: Sequence[str], hypotheses: Sequence[str], lang: str) -> list[Errors]:
    """The errors of each (reference, hypothesis) pair of one language. ValueError when the lengths differ."""
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses")
    return [
        aligned(normalise(reference, lang), normalise(hypothesis, lang), counts_characters(lang)).errors
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]


def error_rate(reference: str, hypothesis: str, lang: str) -> float:
    """WER, or CER where the language is written without spaces."""
    return word_errors(reference, hypothesis, lang).rate


def align(reference: str, hypothesis: str, lang: str) -> list[tuple[str, str | None, str | None]]:
    """The alignment, one (operation, reference word, hypothesis word) per step, in order.

    The operation is "equal", "substitute", "delete" (no hypothesis word) or "insert" (no reference word).
    """
    texts = normalise(reference, lang), normalise(hypothesis, lang)
    expected, heard = units(texts[0], lang), units(texts[1], lang)
    steps: list[tuple[str, str | None, str | None]] = []
    for tag, i, i_end, j, j_end in aligned(*texts, counts_characters(lang)).runs:
        said, written = expected[i:i_end], heard[j:j_end]
        for k in range(max(len(said), len(written))):
            steps.append((OPERATIONS[tag], said[k] if said else None, written[k] if written else None))
    return steps


class Alignment(NamedTuple):
    """Two texts aligned. runs: (rapidfuzz's operation, start and end in the reference, in the hypothesis), in order."""

    runs: Sequence[tuple[str, int, int, int, int]]
    errors: Errors

    def place(self, i: int, n: int) -> int | None:
        """Where the hypothesis has the n reference units from i on, all right and in a row; None where it has not."""
        for operation, start, end, heard, _ in self.runs:
            if start <= i and i + n <= end and operation == "equal":
                return heard + i - start
        return None


@functools.lru_cache(maxsize=REMEMBERED)
def aligned(reference: str, hypothesis: str, characters: bool) -> Alignment:
    """The alignment of two normalised texts, by words or by characters without the spaces."""
    said: str | list[str] = reference.replace(" ", "") if characters else reference.split()
    heard: str | list[str] = hypothesis.replace(" ", "") if characters else hypothesis.split()
    opcodes: Any = Levenshtein.opcodes(said, heard).as_list()
    hits = substitutions = deletions = insertions = 0
    for tag, i, i_end, j, j_end in opcodes:
        if tag == "equal":
            hits += i_end - i
        elif tag == "replace":
            substitutions += i_end - i
        elif tag == "delete":
            deletions += i_end - i
        else:
            insertions += j_end - j
    return Alignment(opcodes, Errors(substitutions, deletions, insertions, hits))
