"""The properties of a text that the rules of `arl.text.hallucination` use; those that are asked for often are kept.

Text("So, um, 1999!", "en").units == ["so", "1999"]
"""

import functools
import re

from arl.text.canonical import canonical
from arl.text.lookalikes import BY_LANGUAGE
from arl.text.normalise import normalise
from arl.text.scripts import DIGIT, script, scripts, speech_s
from arl.text.unspoken import swallowed_rounds, symbol_rounds, symbol_runs
from arl.text.wer import counts_characters, units

NATURAL_REPEATS = 3  # "no no no": what speech repeats by itself, where no reference tells; "!!!"


class Text:
    """A text and the properties that the rules use."""

    def __init__(self, written: str, lang: str, raw: str | None = None) -> None:
        """raw: the text that counts, where it is not all that is written."""
        self.written, self.lang = written, lang
        raw = written if raw is None else raw
        self.raw = canonical(raw, "")
        self.normalised = normalise(raw, lang)
        self.spaceless = self.normalised.replace(" ", "")
        self.units = units(self.normalised, lang)

    @property
    def mixed(self) -> list[str]:
        """Words; where characters are counted, those and whole words of letters and digits: "meeting" is one."""
        return _MIXED.findall(self.normalised) if counts_characters(self.lang) else self.units

    @property
    def symbol_runs(self) -> list[str]:
        """Long stretches without letters."""
        return symbol_runs(self.written)

    @functools.cached_property
    def symbol_rounds(self) -> float:
        """Rounds of symbols in a row; those that people write by themselves at least."""
        return max(NATURAL_REPEATS, symbol_rounds(self.symbol_runs))

    @functools.cached_property
    def symbols(self) -> int:
        """The longest stretch without letters, in characters; 0 where it is short."""
        return max(map(len, self.symbol_runs), default=0)

    @property
    def swallowed_rounds(self) -> float:
        """Rounds of words that normalisation drops; those that people say by themselves at least."""
        return max(NATURAL_REPEATS, swallowed_rounds(self.raw, self.lang))

    @property
    def as_spelt(self) -> str:
        """Normalised without the letters that stand for the language's own: they tell a language from its neighbour."""
        return normalise(self.raw, "") if self.lang in BY_LANGUAGE else self.normalised

    @functools.cached_property
    def digits(self) -> int:
        return sum(script(character) == DIGIT for character in self.normalised)

    @functools.cached_property
    def scripts(self) -> set[str]:
        return scripts(self.raw)

    @functools.cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.units)

    @functools.cached_property
    def speech_s(self) -> float:
        """Seconds that the fastest speaker needs for the raw text."""
        return speech_s(self.raw)

    @functools.cached_property
    def normalised_s(self) -> float:
        """The same for the normalised text, by which two texts are compared."""
        return speech_s(self.normalised)


_MIXED = re.compile(r"[0-9A-Za-z\u00c0-\u024f]+|\S")
