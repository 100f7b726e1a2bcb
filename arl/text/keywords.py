"""Keywords: how many of an utterance's words that matter were recognised, and how many were made up.

    keyword_counts(["New York", "Anna"], "Anna left New York", "Hannah left New York", "en")
    # KeywordCounts(matched=1, in_reference=2, in_hypothesis=1): recall 1/2, precision 1

Keywords, reference and hypothesis are normalised alike, and keywords that become equal are one. An occurrence is the
keyword's words in a row; each keyword is counted by itself, without overlaps, from the left ("York" is found inside
"New York" too). One in the reference is matched where the alignment of the two texts (arl.text.wer) has all
its words right, with nothing inserted between. So matched ≤ in_reference and matched ≤ in_hypothesis, and an
occurrence in the wrong place helps neither recall nor precision. Where characters count, a keyword of letters or
digits must not begin or end inside a longer run of them. Left out: inflected forms, spelling variants.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from arl.text.normalise import normalise, open_brackets
from arl.text.wer import align, counts_characters, units


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


@dataclass(frozen=True)
class _Text:
    """A normalised text in units. glued[i]: unit i continues the letters or digits of the unit before it."""

    units: list[str]
    glued: list[bool]

    @classmethod
    def of(cls, text: str, lang: str) -> "_Text":
        normalised = normalise(text, lang)
        found = units(normalised, lang)
        if not counts_characters(lang):
            return cls(found, [False] * len(found))
        pairs = list(zip(" " + normalised, normalised, strict=False))
        return cls(found, [_is_word(a) and _is_word(b) for a, b in pairs if b != " "])

    def stands(self, i: int, n: int) -> bool:
        """Whether the n units from i on neither begin nor end inside a longer run of letters."""
        return not self.glued[i] and not (i + n < len(self.units) and self.glued[i + n])

    def occurrences(self, keyword: list[str]) -> list[int]:
        """Where the keyword's units begin, from the left, without overlaps."""
        n, found, i = len(keyword), [], 0
        while i + n <= len(self.units):
            if self.units[i : i + n] == keyword and self.stands(i, n):
                found.append(i)
                i += n
            else:
                i += 1
        return found


def keyword_counts(keywords: Sequence[str], reference: str, hypothesis: str, lang: str) -> KeywordCounts:
    """The occurrences of all keywords in one utterance. No keywords: all counts are 0."""
    wanted = list(dict.fromkeys(tuple(units(normalise(word, lang), lang)) for word in keywords))
    wanted = [word for word in wanted if word]
    if not wanted:
        return KeywordCounts()
    hypothesis = open_brackets(hypothesis, reference)
    said, heard = _Text.of(reference, lang), _Text.of(hypothesis, lang)
    right = _aligned(reference, hypothesis, lang)
    total = KeywordCounts()
    for keyword in map(list, wanted):
        places = said.occurrences(keyword)
        true = [i for i in places if i in right and _in_a_row([right.get(j) for j in range(i, i + len(keyword))])]
        true = [i for i in true if heard.stands(right[i], len(keyword))]
        total += KeywordCounts(len(true), len(places), len(heard.occurrences(keyword)))
    return total


def _aligned(reference: str, hypothesis: str, lang: str) -> dict[int, int]:
    """Reference unit → hypothesis unit, for those that the alignment has right."""
    right, i, j = {}, 0, 0
    for operation, said, heard in align(reference, hypothesis, lang):
        if operation == "equal":
            right[i] = j
        i += said is not None
        j += heard is not None
    return right


def _in_a_row(places: Sequence[int | None]) -> bool:
    """Whether the places follow each other without a gap."""
    first = places[0]
    return first is not None and all(place == first + k for k, place in enumerate(places))


def _is_word(character: str) -> bool:
    """A letter or digit of a script that writes words apart, as far as ASCII and its accented kin go."""
    return character.isalnum() and character < "\u0250"
