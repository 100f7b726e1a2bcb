"""D3, names, brands and special vocabulary: utterances with words of a list, or with words that the corpus has seldom.

A list has one word or phrase a line. Without one the rule is: a word is special that stands in at most N distinct
texts of the corpus, is written in letters only, and in at least M of them. Words are those of the normalised text, as
for the `keyword` reward. Left out: rare words where words are not written apart (a list works there), and numbers.

    entries = Entries.read(Path("brands.txt"))
    entries.found("Call Digium now", "en")     # ("Digium",)
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arl.data.mining.pool import Candidate
from arl.errors import ArlError
from arl.text.keywords import keyword_counts
from arl.text.lines import read_lines
from arl.text.normalise import normalise
from arl.text.tags import language
from arl.text.wer import counts_characters, units


@dataclass(frozen=True)
class Entries:
    """A list of words and phrases, as given."""

    words: Sequence[str]
    _by_first: dict[str, dict[str, list[str]]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> "Entries":
        """One word or phrase a line. Raises ArlError for a list without any."""
        what = "--keywords is a file of one word or phrase a line"
        lines = [" ".join(line.split()) for line in read_lines(path, what)]
        words = list(dict.fromkeys(line for line in lines if line))
        if not words:
            raise ArlError(f"{path}: no words in it; one word or phrase a line")
        return cls(words)

    def found(self, text: str, lang: str) -> tuple[str, ...]:
        """The entries that the text has, as the `keyword` reward counts them, in the list's order."""
        by_first = self._indexed(language(lang))
        firsts = set(units(normalise(text, lang), lang))
        possible = {word for first in firsts for word in by_first.get(first, ())}
        return tuple(
            word for word in self.words if word in possible and keyword_counts([word], text, "", lang).in_reference
        )

    def _indexed(self, lang: str) -> dict[str, list[str]]:
        """First unit to the entries that begin with it; made once a language."""
        if lang not in self._by_first:
            index: dict[str, list[str]] = {}
            for word in self.words:
                if own := units(normalise(word, lang), lang):
                    index.setdefault(own[0], []).append(word)
            self._by_first[lang] = index
        return self._by_first[lang]


@dataclass(frozen=True)
class Rarity:
    """In how many distinct texts each word stands that is long enough, by language."""

    texts: Mapping[str, Mapping[str, int]]
    letters: int

    @classmethod
    def count(cls, candidates: Iterable[Candidate], letters: int) -> "Rarity":
        """Over distinct normalised texts: another speaker of the same text makes no word commoner."""
        distinct = {(language(each.lang), normalise(each.text, each.lang)) for each in candidates}
        texts: dict[str, Counter[str]] = {}
        for lang, text in distinct:
            if not counts_characters(lang):
                texts.setdefault(lang, Counter()).update(set(_words(text, letters)))
        return cls(texts, letters)

    def rare(self, text: str, lang: str, at_most: int) -> dict[str, int]:
        """The words of the text that stand in at most so many texts, in their order, with the number of texts."""
        known = self.texts.get(language(lang), {})
        words = dict.fromkeys(_words(normalise(text, lang), self.letters))
        return {word: known[word] for word in words if 0 < known.get(word, 0) <= at_most}

    def rarest(self) -> int | None:
        """The smallest number of texts that any word stands in; None when no word is long enough."""
        return min((n for counts in self.texts.values() for n in counts.values()), default=None)


def _words(normalised: str, letters: int) -> list[str]:
    return [word for word in normalised.split() if len(word) >= letters and all(map(_is_letter, word))]


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"
