"""The language of a transcript: what the corpus states, else `--lang`, and whether that can be.

problem_of(utterance, "en")   # "it states no language, and CJK letters are not those of --lang en"
"""

from arl.data.corpora.utterance import CorpusUtterance
from arl.errors import UsageError
from arl.text.scripts import LANGUAGE_SCRIPTS, scripts
from arl.text.tags import language, problem


def require_known(lang: str) -> None:
    """UsageError for a `--lang` that nobody knows."""
    if wrong := problem(lang):
        raise UsageError(f"--lang: {wrong}")


def problem_of(utterance: CorpusUtterance, lang: str) -> str | None:
    """What is wrong with the language of an utterance, None where nothing is. lang: of those that state none."""
    if utterance.lang:
        return problem(utterance.lang)
    known, found = LANGUAGE_SCRIPTS.get(language(lang)), scripts(utterance.text)
    if known is None or not found or known & found:
        return None
    return f"it states no language, and {', '.join(sorted(found))} letters are not those of --lang {lang}"
