"""Texts as phonemes, by espeak-ng through phonemizer, with the arguments of upstream's `neutts/phonemizers.py`.

    phonemes("hello, Dave", "en-us")        # "həlˈoʊ, dˈeɪv"

Both packages are an extra, `arl[neutts]`; phonemizer and espeak-ng are under the GPL.
"""

from functools import cache
from typing import Any

from arl.errors import ArlError, UsageError

NAMES = {"en": "en-us", "fr": "fr-fr"}  # espeak's names of languages that the models are for


@cache
def backend(language: str) -> Any:
    """phonemizer's espeak. ArlError where it is not installed, UsageError for a language that espeak does not know."""
    try:
        import espeakng_loader
        from phonemizer.backend.espeak import espeak, wrapper
    except ImportError as error:
        raise ArlError(
            f"NeuTTS reads phonemes, and {error.name} is not installed: pip install 'arl[neutts]'"
        ) from error
    wrapper.EspeakWrapper.set_library(espeakng_loader.get_library_path())
    wrapper.EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    try:
        return espeak.EspeakBackend(
            language=language, preserve_punctuation=True, with_stress=True, words_mismatch="ignore",
            language_switch="remove-flags",
        )  # fmt: skip
    except RuntimeError as error:
        raise UsageError(f"--language {language}: {error}") from error


def phonemes(text: str, language: str) -> str:
    """A text in IPA with stress and punctuation, single spaces. ArlError where nothing of it is spoken."""
    name = NAMES.get(language, language)
    (found,) = backend(name).phonemize([text])
    spoken = " ".join(str(found).split())
    if not spoken:
        raise ArlError("espeak speaks nothing of the text")
    return spoken.replace("-", "") if name == "fr-fr" else spoken
