"""Language tags: one code for the many ways to name a language.

    language("zh-CN") == language("zho") == language("Chinese") == language("<|zh|>") == "zh"

langcodes knows the tags (BCP 47, ISO 639 of two and three letters) and the names in many languages. Region and script
are dropped; a code stands for the language that most data names by it: "zh" for Mandarin ("cmn"), "ar" for "arb". ""
is a language that nobody has stated, as is "und". Left out: code-switched speech ("mul").
"""

import functools
import re
from contextlib import suppress

from arl.errors import ArlError
from arl.text.scripts import LANGUAGE_SCRIPTS

SINITIC = frozenset(["cdo", "cjy", "cpx", "czh", "czo", "gan", "hak", "hsn", "lzh", "mnp", "nan", "wuu", "yue", "zh"])
"""Chinese languages by code; Mandarin is "zh"."""
NAMES_FROM = 4  # letters: "lao" and "yue" are codes, "thai" is a name
LONGEST = 80  # characters of a name
UNSTATED = frozenset({"", "und"})
REPLACED = frozenset({"cmn", "iw"})  # codes with scripts of their own in the tables that stand for another
WRAPPED = re.compile(r"<\|(.*)\|>")  # a token of Whisper's
LOCALE = re.compile(r"[.@].*")  # the end of zh_CN.UTF-8
PRIVATE = re.compile(r"q[a-t][a-z]$|x-")


@functools.lru_cache(maxsize=1024)
def language(lang: str) -> str:
    """The code of a language from a tag or name. ArlError for one that nobody knows."""
    tag = LOCALE.sub("", WRAPPED.sub(r"\1", lang.strip())).strip()
    first = tag.lower().replace("_", "-").partition("-")[0]
    if first in UNSTATED:
        return ""
    if first in LANGUAGE_SCRIPTS and first not in REPLACED:
        return first
    if len(tag) <= LONGEST and (code := _looked_up(tag)):
        return code
    raise ArlError(
        f"language {lang[:LONGEST]!r} is unknown; give a code such as zh, zh-CN or zho, or a name such as Chinese"
    )


def problem(lang: object) -> str | None:
    """What is wrong with a sample's language; None for a good one, and for none (None, "")."""
    if lang is None:
        return None
    if not isinstance(lang, str):
        return f"{lang!r} is not a language"
    try:
        language(lang)
    except ArlError as error:
        return str(error)
    return None


def _looked_up(tag: str) -> str | None:
    """The code of a registered tag, or of a name in English or another language."""
    import langcodes

    words = tag.replace("_", " ").replace("-", " ")
    names = [] if tag.isascii() and len(tag) < NAMES_FROM else [(langcodes.find, tag), (langcodes.find, words)]
    for search, spelt in [(langcodes.get, tag), *names]:
        with suppress(ValueError, LookupError):
            found = search(spelt)
            if found.language and not PRIVATE.match(found.language) and langcodes.get(found.language).is_valid():
                own = found.language in LANGUAGE_SCRIPTS and found.language not in REPLACED
                return found.language if own else found.prefer_macrolanguage().language
    return None
