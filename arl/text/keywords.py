"""Keywords: how many of an utterance's keywords were recognised (recall), and how many in the hypothesis are right
(precision).

    keyword_counts(["New York", "Anna"], "Anna left New York", "Hannah left New York", "en")
    # KeywordCounts(matched=1, in_reference=2, in_hypothesis=1): recall 1/2, precision 1

Keywords, reference and hypothesis are normalised alike, and keywords that become equal are one. An occurrence is the
keyword's words in a row; each keyword is counted by itself, without overlaps, from the left ("York" is found inside
"New York" too). One in the reference is matched where the alignment of the two texts (arl.text.wer) has all
its words right, with nothing inserted between. So matched <= in_reference and matched <= in_hypothesis, and an
occurrence in the wrong place helps neither recall nor precision. In languages that are counted in characters
(arl.text.wer) the keyword's characters are searched; a letter or digit must not precede or follow it directly. Korean
is searched by characters too: a keyword begins a word, and a particle may follow. Left out: inflected forms, spelling
variants.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from arl.text.normalise import normalise, open_brackets
from arl.text.tags import language
from arl.text.wer import aligned, counts_characters

KOREAN = "ko"


@dataclass(frozen=True)
class KeywordCounts:
    """Occurrences of keywords in one utterance, or in a corpus by adding them."""

    matched: int = 0
    in_reference: int = 0
    in_hypothesis: int = 0

    @property
    def recall(self) -> float | None:
        """The share of the reference's occurrences that the hypothesis has right; None when it has none."""
        return self.matched / self.in_reference if self.in_reference else None

    @property
    def precision(self) -> float | None:
        """The share of the hypothesis's occurrences that are true; None when it has none."""
        return self.matched / self.in_hypothesis if self.in_hypothesis else None

    @property
    def f1(self) -> float | None:
        """Their harmonic mean, 2 matched / (in_reference + in_hypothesis); None when no text has a keyword."""
        total = self.in_reference + self.in_hypothesis
        return 2 * self.matched / total if total else None

    def __add__(self, other: "KeywordCounts") -> "KeywordCounts":
        return KeywordCounts(
            self.matched + other.matched,
            self.in_reference + other.in_reference,
            self.in_hypothesis + other.in_hypothesis,
        )


class _Text(NamedTuple):
    """A normalised text in units, and at which of them an occurrence may begin and end (None: at every unit)."""

    units: list[str]
    begins: list[bool] | None = None
    ends: list[bool] | None = None

    @classmethod
    def of(cls, normalised: str, lang: str) -> "_Text":
        if not _by_characters(lang):
            return cls(normalised.split())
        padded = f" {normalised} "
        around = [trio for trio in zip(padded, padded[1:], padded[2:], strict=False) if trio[1] != " "]
        found = [one for _, one, _ in around]
        if lang == KOREAN:
            return cls(found, [before == " " for before, _, _ in around])
        begins = [not (_is_word(before) and _is_word(one)) for before, one, _ in around]
        return cls(found, begins, [not (_is_word(one) and _is_word(behind)) for _, one, behind in around])

    def stands(self, i: int, n: int) -> bool:
        """Whether the n units from i on can be an occurrence."""
        return (self.begins is None or self.begins[i]) and (self.ends is None or self.ends[i + n - 1])

    def occurrences(self, keyword: list[str]) -> list[int]:
        """Where the keyword's units begin, from the left, without overlaps."""
        n, i = len(keyword), 0
        found: list[int] = []
        for _ in range(self.units.count(keyword[0])):
            try:
                i = self.units.index(keyword[0], i)
            except ValueError:  # the rest of them are inside the last occurrence
                break
            is_one = self.units[i : i + n] == keyword and self.stands(i, n)
            if is_one:
                found.append(i)
            i += n if is_one else 1
        return found


def keyword_counts(keywords: Sequence[str], reference: str, hypothesis: str, lang: str) -> KeywordCounts:
    """The occurrences of all keywords in one utterance. No keywords: all counts are 0."""
    if not keywords:
        return KeywordCounts()
    lang = language(lang)
    texts = normalise(reference, lang), normalise(open_brackets(hypothesis, reference), lang)
    heard, alignment = _Text.of(texts[1], lang), aligned(*texts, _by_characters(lang))
    matched = in_reference = in_hypothesis = 0
    for keyword, places in _spoken(tuple(keywords), texts[0], lang):
        for i in places:
            j = alignment.place(i, len(keyword))
            matched += j is not None and heard.stands(j, len(keyword))
        in_reference += len(places)
        in_hypothesis += len(heard.occurrences(keyword))
    return KeywordCounts(matched, in_reference, in_hypothesis)


@functools.lru_cache(maxsize=1 << 12)
def _spoken(keywords: tuple[str, ...], reference: str, lang: str) -> list[tuple[list[str], list[int]]]:
    """The keywords in units, without empty and equal ones, each with its places in the normalised reference."""
    said = _Text.of(reference, lang)
    found = dict.fromkeys(tuple(_Text.of(normalise(word, lang), lang).units) for word in keywords)
    return [(list(word), said.occurrences(list(word))) for word in found if word]


def _by_characters(lang: str) -> bool:
    return lang == KOREAN or counts_characters(lang)


def _is_word(character: str) -> bool:
    """A letter or digit of a script that writes words apart, as far as ASCII and its accented kin go."""
    return character.isalnum() and character < "\u0250"
