"""One utterance's row of `utterances.jsonl`: both texts, error counts, keyword counts, the rules that fired, alignment.

    row = score("short", "a-17", Meta("press two", "en", keywords=["two"]), "press two two", 1.2)

Text that the hypothesis alone has in brackets counts, as in the rewards. Left out: rules that need the audio itself
(`arl.text.hallucination` reads texts and the duration).
"""

from collections.abc import Mapping
from typing import Any

from arl.shards.rows import Meta
from arl.text.hallucination import fired
from arl.text.keywords import keyword_counts
from arl.text.normalise import open_brackets
from arl.text.wer import align, word_errors

ERRORS = ("substitutions", "deletions", "insertions", "hits")
KEYWORDS = ("matched", "in_reference", "in_hypothesis")  # fields of KeywordCounts; in a row "keywords_matched", ...


def score(name: str, key: str, meta: Meta, hypothesis: str, duration_s: float | None) -> dict[str, Any]:
    """The row of utterance `key` of set `name`. meta: what is known of it; duration_s: None where nobody knows it."""
    reference, lang, keywords = meta.text, meta.lang, list(meta.keywords)
    heard = open_brackets(hypothesis, reference)
    errors = word_errors(reference, heard, lang)
    found = keyword_counts(keywords, reference, hypothesis, lang)
    return {
        "set": name, "key": key, "lang": lang, "duration_s": duration_s,
        "reference": reference, "hypothesis": hypothesis,
        **{field: getattr(errors, field) for field in ERRORS},
        "keywords": keywords, **{f"keywords_{field}": getattr(found, field) for field in KEYWORDS},
        "rules": list(fired(hypothesis, reference, lang, duration_s)),
        "alignment": align(reference, heard, lang),
    }  # fmt: skip


def error_count(row: Mapping[str, Any]) -> int:
    """Substitutions, deletions and insertions of a row."""
    return row["substitutions"] + row["deletions"] + row["insertions"]
