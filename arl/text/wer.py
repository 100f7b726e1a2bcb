"""Word and character errors: substitutions, deletions, insertions, and the alignment behind them.

    word_errors("the cat sat", "the hat sat down", "en")  # 1 substitution, 1 insertion, 2 hits: rate 2/3

Both texts are normalised (`arl.text.normalise`). Languages written without spaces between words count characters,
spaces left out, so their rate is a CER; where no language is stated, characters of these writings count as words. jiwer
aligns the texts; of several alignments with the fewest errors it is the one jiwer reports. An empty reference has
length 0: an empty hypothesis then has rate 0, and k words have k insertions and rate k (the length in the denominator
is at least 1). Left out: a mixed rate for code-switched speech.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jiwer

from arl.text.normalise import normalise
from arl.text.tags import SINITIC, language

REMEMBERED = 1 << 12  # alignments: several reward programs look at the same group one after another
WORDS = jiwer.ReduceToListOfListOfWords()
CHARACTERS = jiwer.Compose([jiwer.RemoveWhiteSpace(), jiwer.ReduceToListOfListOfChars()])
CHARACTER_LANGUAGES = SINITIC | {"ja", "th", "lo", "km", "my", "shn"}


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


def word_errors_batch(
    references: Sequence[str], hypotheses: Sequence[str], lang: str, characters: bool = False
) -> list[Errors]:
    """The errors of each (reference, hypothesis) pair of one language. characters: count those in any language.
    ValueError when the lengths differ."""
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses")
    said, heard = [normalise(text, lang) for text in references], [normalise(text, lang) for text in hypotheses]
    return [alignment.errors for alignment in aligned_batch(said, heard, characters or counts_characters(lang))]


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
    for chunk in aligned(*texts, counts_characters(lang)).chunks:
        said = expected[chunk.ref_start_idx : chunk.ref_end_idx]
        written = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        steps += [(chunk.type, *pair) for pair in itertools.zip_longest(said, written)]
    return steps


class Alignment(NamedTuple):
    """Two texts aligned. chunks: runs of one operation ("equal", "substitute", "delete", "insert"), in order."""

    chunks: Sequence[jiwer.AlignmentChunk]
    errors: Errors

    def place(self, i: int, n: int) -> int | None:
        """Where the hypothesis has the n reference units from i on, all right and in a row; None where it has not."""
        for chunk in self.chunks:
            if chunk.ref_start_idx <= i and i + n <= chunk.ref_end_idx and chunk.type == "equal":
                return chunk.hyp_start_idx + i - chunk.ref_start_idx
        return None


@functools.lru_cache(maxsize=REMEMBERED)
def aligned(reference: str, hypothesis: str, characters: bool) -> Alignment:
    """The alignment of two normalised texts, by words or by characters without the spaces."""
    return aligned_batch([reference], [hypothesis], characters)[0]


def aligned_batch(references: Sequence[str], hypotheses: Sequence[str], characters: bool) -> list[Alignment]:
    """`aligned` of each (reference, hypothesis) pair."""
    if not references:
        return []
    split, process = (CHARACTERS, jiwer.process_characters) if characters else (WORDS, jiwer.process_words)
    found = process(list(references), list(hypotheses), split, split)
    return [Alignment(chunks, _errors(chunks)) for chunks in found.alignments]


def _errors(chunks: Sequence[jiwer.AlignmentChunk]) -> Errors:
    """jiwer's counts of one pair: it gives them summed over a batch."""
    n: Counter[str] = Counter()
    for chunk in chunks:
        n[chunk.type] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return Errors(n["substitute"], n["delete"], n["insert"], n["equal"])
