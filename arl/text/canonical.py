"""Canonical code points: texts that look the same become the same text.

    canonical("\ufeffDon\u2019t go", "en") == "Don't go"

For every language: Unicode's compatibility form NFKC (full-width and presentation forms, ligatures, composed marks);
without what cannot be seen (zero-width and format characters, soft hyphens, variation selectors, tatweel, controls);
one apostrophe, one hyphen, ASCII digits. Then the look-alikes of the language (`arl.text.lookalikes`). Case and
punctuation stay: they are the normaliser's (`arl.text.normalise`). Left out: other spellings of the same word,
traditional against simplified Chinese.
"""

import functools
import re
import unicodedata

from arl.text.lookalikes import own_letters

CACHED_TEXTS = 65536
APOSTROPHES = "\u2018\u2019\u201a\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u00b4`\u055a\u05f3\u07f4\ua78b\ua78c\u275b\u275c\u0384\u1fbd\u1fbf\u1ffe"  # fmt: skip  # noqa: E501
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d"
UNSEEN = (  # default-ignorable code points that are no format characters (Cf)
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF), (0x0640, 0x0640), (0x07FA, 0x07FA),
)  # fmt: skip
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85"
JOINED = {  # a consonant, virama and zero-width joiner: the letter that has a code point of its own
    "\u0d23\u0d4d\u200d": "\u0d7a", "\u0d28\u0d4d\u200d": "\u0d7b", "\u0d30\u0d4d\u200d": "\u0d7c",
    "\u0d32\u0d4d\u200d": "\u0d7d", "\u0d33\u0d4d\u200d": "\u0d7e", "\u0d15\u0d4d\u200d": "\u0d7f",
    "\u09a4\u09cd\u200d": "\u09ce",
}  # fmt: skip
JOINER = "\u200d"
_JOINED = re.compile("|".join(JOINED))
_ASCII_CHANGES = re.compile(r"[\x00-\x08\x0e-\x1b\x7f`]")


def canonical(text: str, lang: str) -> str:
    """The text in canonical code points. lang: a code of `arl.text.tags.language`."""
    return text if text.isascii() and _is_plain(text, lang) else _canonical(text, lang)


def _is_plain(text: str, lang: str) -> bool:
    if own_letters(text, lang) != text:
        return False
    return (text.isprintable() and "`" not in text) or _ASCII_CHANGES.search(text) is None


@functools.lru_cache(maxsize=CACHED_TEXTS)
def _canonical(text: str, lang: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if JOINER in text:
        text = _JOINED.sub(lambda found: JOINED[found[0]], text)
    text = unicodedata.normalize("NFKC", text.translate(_POINTS)).translate(_POINTS)
    return unicodedata.normalize("NFC", own_letters(text, lang))


def _point(code: int) -> int | str | None:
    """What a code point becomes: None where it goes."""
    character = chr(code)
    kind = unicodedata.category(character)
    if character in APOSTROPHES:
        return "'"
    if character in DASHES:
        return "-"
    if kind in ("Cf", "Me") or (kind == "Cc" and character not in SPACES):
        return None
    if any(first <= code <= last for first, last in UNSEEN):
        return None
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    return _spacing_mark(character) or code


def _spacing_mark(character: str) -> str | None:
    """What becomes of a mark that stands by itself, which NFKC makes a space and a mark; None for everything else."""
    form, _, rest = unicodedata.decomposition(character).partition(" ")
    if form not in ("<compat>", "<isolated>") or not rest.startswith("0020 "):
        return None
    marks = "".join(chr(int(code, 16)) for code in rest.split()[1:])
    return marks if form == "<isolated>" or marks in "\u3099\u309a" else " "


class _Points(dict[int, int | str | None]):
    """Code point → what it becomes; filled as code points are seen."""

    def __missing__(self, code: int) -> int | str | None:
        self[code] = _point(code)
        return self[code]


_POINTS = _Points()
