"""Text normalisation before scoring: what counts as the same transcript.

    normalise("Mr. Smith's colour isn't $20 million!", "en") == "mister smith is color is not $20000000"

English: Whisper's English normaliser (contractions, numbers, British spelling, "um"), from transformers, the
one published word error rates use; its table of spellings comes from `whisper-normalizer`. Every other
language: Whisper's basic normaliser (case, punctuation, spaces), except that combining marks stay: the
original replaces them by spaces, which breaks words of Hindi, Tamil or Thai apart. Both drop text in
brackets. Left out: number reading in other languages, and traditional against simplified Chinese.
"""

import functools
import importlib.util
import json
import re
import unicodedata
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import ModuleType

from arl.errors import ArlError
from arl.text.english import EnglishByWords

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
    if language(lang) == "en":
        return _english()(text)
    return " ".join(_basic()(text).split())


def open_brackets(hypothesis: str, reference: str | None) -> str:
    """The hypothesis with its brackets made spaces, unless the reference has some.

    `normalise` drops text in brackets, so a policy could hide words there: opened, they count.
    """
    if BRACKETS.search(hypothesis) is None or (reference is not None and BRACKETS.search(reference)):
        return hypothesis
    return BRACKETS.sub(" ", hypothesis)


@functools.cache
def _english() -> EnglishByWords:
    spelling = resources.files("whisper_normalizer").joinpath("normalizers/english.json").read_text(encoding="utf-8")
    return EnglishByWords(_whisper_module().EnglishTextNormalizer(json.loads(spelling)))


@functools.cache
def _basic() -> Callable[[str], str]:
    normaliser = _whisper_module().BasicTextNormalizer()
    normaliser.clean = _drop_symbols
    return normaliser


def _drop_symbols(text: str) -> str:
    """Symbols and punctuation become spaces; letters, digits and combining marks stay."""
    return unicodedata.normalize("NFKC", text).translate(_SPACED)


class _Spaced(dict[int, str]):
    """Code point → the character, or a space; filled as characters are seen."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "SP" else character
        return self[code]


_SPACED = _Spaced()


@functools.cache
def _whisper_module() -> ModuleType:
    """transformers' normaliser, loaded from its file: importing transformers takes seconds, the file 0.1 s."""
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        raise ArlError("text normalisation needs transformers; install arl with its dependencies")
    path = Path(found.submodule_search_locations[0]) / "models" / "whisper" / "english_normalizer.py"
    spec = importlib.util.spec_from_file_location("arl_whisper_normaliser", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ArlError(f"{path}: missing; this transformers has no Whisper normaliser")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
