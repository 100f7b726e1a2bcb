"""Which language a text is in, among those that share its script: evidence for the translation rule.

    odds("appuyez sur une touche", "en")  # ("fr", 5000.0): that much likelier French than English

By py3langid (a naive Bayes model over byte n-grams, 4 MB, in the package). A sentence of a few words is often
classified wrongly, and close relatives (Czech and Slovak, Hindi and Nepali) cannot be told apart at all, so the
answer is a ratio of probabilities, to be used with a high threshold and together with other evidence.
Left out: texts that mix languages.
"""

import functools
import math
from typing import Any

LATIN = "af ca cs cy da de en es et eu fi fr ga hr hu id is it lt lv mt nl no pl pt ro sk sl sq sv sw tl tr vi"
OTHERS = "be bg kk mk mn ru sr uk ar fa ps ur hi mr ne as bn"
CANDIDATES = [*LATIN.split(), *OTHERS.split()]
KIN = [{"da", "no"}, {"cs", "sk"}, {"hr", "sl", "sr"}, {"bg", "mk"}, {"hi", "ne", "mr"}, {"as", "bn"}, {"fa", "ps"}]
SAME = {"nb": "no", "nn": "no", "bs": "hr", "ms": "id", "gl": "pt", "fil": "tl"}
TINY = 1e-30


def odds(text: str, lang: str) -> tuple[str, float] | None:
    """(the likeliest other language, how many times likelier than `lang` it is); None for a language not known.

    lang: a code as of `arl.text.normalise.language`. Close relatives of `lang` do not count as others.
    """
    lang = SAME.get(lang, lang)
    if lang not in CANDIDATES:
        return None
    known = probabilities(text)
    kin = {lang}.union(*(group for group in KIN if lang in group))
    best, p = max(((other, p) for other, p in known.items() if other not in kin), key=lambda pair: pair[1])
    return best, p / max(TINY, known[lang])


@functools.lru_cache(maxsize=1 << 14)
def probabilities(text: str) -> dict[str, float]:
    """The probability of each candidate language."""
    found = _identifier().rank(text.lower())
    return {lang: p if math.isfinite(p) else 0.0 for lang, p in found}


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(CANDIDATES)
    return identifier
