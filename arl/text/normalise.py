"""Text normalisation before scoring: what counts as the same transcript.

    normalise("Mr. Smith's colour isn't $20 million!", "en") == "mister smith is color is not $20000000"

Canonical code points first (`arl.text.canonical`), then the language's normaliser. English: Whisper's English one
(contractions, numbers, British spelling, "um"), the one published word error rates use, as the package
whisper-normalizer has it (a test compares it with transformers'). Every other language: Whisper's basic normaliser
(case, punctuation, spaces), with combining marks kept: Whisper replaces them by spaces, which breaks words of Hindi,
Tamil or Thai apart. Both drop text in brackets. A text whose language is not stated ("") goes through the basic
normaliser, and each character of a writing without spaces is a word. Left out: number reading in other languages, and
traditional against simplified Chinese.
"""

import functools
import re
import unicodedata
from collections import Counter

from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from arl.text.canonical import canonical
from arl.text.tags import language

BRACKETS = re.compile(r"[()\[\]<>]")
# what Whisper's normalisers drop, in their order
TAGS = (re.compile(r"[<\[]([^>\]]*)[>\]]"), re.compile(r"\(([^)]+?)\)"))
UNSPACED = re.compile(  # Thai, Lao, Burmese, Khmer, kana, bopomofo, Yi, Han
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf"
    "\U00020000-\U0003ffff]"
)
CACHED_TEXTS = 65536  # a step repeats each reference G times, and most of its hypotheses
_SYMBOLS = re.compile(r"[\W_]+")


@functools.lru_cache(maxsize=CACHED_TEXTS)
def normalise(text: str, lang: str) -> str:
    """`text` as it is compared: normalised for the language, words separated by single spaces, none at the ends.

    lang: a tag or a name, "" when unknown. ArlError for a language that nobody knows.
    """
    code = language(lang)
    normaliser = _english() if code == "en" else _basic()
    words = normaliser(canonical(text, code))
    return " ".join((words if code else UNSPACED.sub(r" \g<0> ", words)).split())


def open_brackets(hypothesis: str, reference: str | None) -> str:
    """The hypothesis with its brackets made spaces, except around the tags that the reference has too, each as often.

    `normalise` drops text in brackets, so a policy could hide words there: opened, they count.
    """
    heard = unicodedata.normalize("NFKC", hypothesis)
    if BRACKETS.search(heard) is None:
        return hypothesis
    said = unicodedata.normalize("NFKC", reference or "")
    for tag in TAGS:
        left = Counter(_plain(inner) for inner in tag.findall(said))
        said = tag.sub("", said)
        heard = tag.sub(functools.partial(_opened, left), heard)
    return BRACKETS.sub(" ", heard)


def _opened(left: Counter[str], tag: re.Match[str]) -> str:
    """What stands in the place of a tag: nothing where the reference has one of these left."""
    inner = _plain(tag[1])
    if left[inner] > 0:
        left[inner] -= 1
        return ""
    return f" {tag[1]} "


def _plain(inner: str) -> str:
    return _SYMBOLS.sub(" ", inner.lower()).strip()


@functools.cache
def _english() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


@functools.cache
def _basic() -> BasicTextNormalizer:
    return BasicTextNormalizer(preserve_marks=True)
