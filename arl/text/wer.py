"""Word and character errors: substitutions, deletions, insertions, and the alignment behind them.

    word_errors("the cat sat", "the hat sat down", "en")  # 1 substitution, 1 insertion, 2 hits: rate 2/3

Both texts are normalised (`arl.text.normalise`). Languages written without spaces between words count
characters, spaces left out, so their rate is a CER. The alignment is jiwer's. An empty reference has length
0: an empty hypothesis then has rate 0, and k words have k insertions and rate k (the length in the
denominator is at least 1). Left out: a mixed rate for code-switched speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arl.text.normalise import language, normalise

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
    if not references:
        return []
    return [_count(chunks) for chunks in _process(references, hypotheses, lang).alignments]


def error_rate(reference: str, hypothesis: str, lang: str) -> float:
    """WER, or CER where the language is written without spaces."""
    return word_errors(reference, hypothesis, lang).rate


def align(reference: str, hypothesis: str, lang: str) -> list[tuple[str, str | None, str | None]]:
    """The alignment, one (operation, reference word, hypothesis word) per step, in order.

    The operation is "equal", "substitute", "delete" (no hypothesis word) or "insert" (no reference word).
    """
    output = _process([reference], [hypothesis], lang)
    steps: list[tuple[str, str | None, str | None]] = []
    for chunk in output.alignments[0]:
        expected = output.references[0][chunk.ref_start_idx : chunk.ref_end_idx]
        heard = output.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx]
        for i in range(max(len(expected), len(heard))):
            pair = (expected[i] if expected else None, heard[i] if heard else None)
            steps.append((chunk.type, *pair))
    return steps


def _process(references: Sequence[str], hypotheses: Sequence[str], lang: str) -> Any:
    """jiwer's output over the normalised texts, split into words or characters."""
    import jiwer

    expected = [normalise(text, lang) for text in references]
    heard = [normalise(text, lang) for text in hypotheses]
    if not counts_characters(lang):
        return jiwer.process_words(expected, heard)
    return jiwer.process_characters([t.replace(" ", "") for t in expected], [t.replace(" ", "") for t in heard])


def _count(chunks: Sequence[Any]) -> Errors:
    """Adds up one sentence's alignment chunks (start and end indices of runs of one operation)."""
    totals = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        span = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        totals[chunk.type] += span
    return Errors(totals["substitute"], totals["delete"], totals["insert"], totals["equal"])
