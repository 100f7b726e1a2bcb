"""Text normalisation before scoring: what counts as the same transcript.

    normalise("Mr. Smith's colour isn't $20 million!", "en") == "mister smith is color is not $20000000"

English: Whisper's English normaliser (contractions, numbers, British spelling, "um"), the one published word error
rates use, as the package whisper-normalizer has it (a test compares it with transformers'). Every other language:
Whisper's basic normaliser (case, punctuation, spaces), with combining marks kept: Whisper replaces them by spaces,
which breaks words of Hindi, Tamil or Thai apart. Both drop text in brackets. Left out: number reading in other
languages, and traditional against simplified Chinese.
"""

import functools
import re

from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

BRACKETS = re.compile(r"[()\[\]<>]")
CACHED_TEXTS = 65536  # a step repeats each reference G times, and most of its hypotheses


@functools.lru_cache(maxsize=1024)
def language(lang: str) -> str:
    """The language alone, in lower case: "zh" of "zh-CN", "zh_TW" and "ZH"; "en" of "English"."""
    code = lang.strip().lower().replace("_", "-").partition("-")[0]
    return "en" if code in ("eng", "english") else code


@functools.lru_cache(maxsize=CACHED_TEXTS)
def normalise(text: str, lang: str) -> str:
    """`text` as it is compared: normalised for the language, words separated by single spaces, none at the ends."""
    normaliser = _english() if language(lang) == "en" else _basic()
    return " ".join(normaliser(text).split())


def open_brackets(hypothesis: str, reference: str | None) -> str:
    """The hypothesis with its brackets made spaces, unless the reference has some.

    `normalise` drops text in brackets, so a policy could hide words there: opened, they count.
    """
    if BRACKETS.search(hypothesis) is None or (reference is not None and BRACKETS.search(reference)):
        return hypothesis
    return BRACKETS.sub(" ", hypothesis)


@functools.cache
def _english() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


@functools.cache
def _basic() -> BasicTextNormalizer:
    return BasicTextNormalizer(preserve_marks=True)
