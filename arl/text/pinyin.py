"""Mandarin as syllables without tones, so that homophones and wrong tones count as right.

    syllables("买一本书") == syllables("卖一本书") == "mai yi ben shu"

By pypinyin (MIT; the extra `zh`), which reads a character with several readings by the phrase that it is in. Left out:
tones, and languages other than Mandarin.
"""

import re

from arl.errors import ArlError
from arl.text.scripts import HAN

try:
    from pypinyin import lazy_pinyin
except ImportError as error:
    raise ArlError("pinyin needs pypinyin: install arl with the extra zh") from error

BETWEEN = re.compile(rf"(?<={HAN})\s+(?={HAN})")


def syllables(normalised: str) -> str:
    """A normalised text, its characters replaced by syllables with spaces between; what is not Chinese stays."""
    return " ".join(" ".join(lazy_pinyin(BETWEEN.sub("", normalised))).split())
