"""What is asked of an utterance, and the prompt of ours: one placeholder per clip, not one per embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arl.errors import ArlError
from arl.text.tags import language as code_of


@dataclass(frozen=True)
class Ask:
    """What is asked of an utterance. instruction: in place of the family's own; language: a code ("en"); keywords:
    hotwords for the prompt; None or empty: the family's default. lang: the utterance's own, as its `.json` has it."""

    instruction: str | None = None
    language: str | None = None
    keywords: tuple[str, ...] = ()
    lang: str | None = None

    @property
    def spoken(self) -> str | None:
        """The utterance's own language, a code. ArlError for one that nobody knows."""
        return code_of(self.lang) or None if self.lang else None


def collapse(ids: list[int], audio_token_id: int) -> list[int]:
    """[P] with one placeholder, from ids with one run of T of them. ArlError where there is no such run, or several."""
    first = next((i for i, token in enumerate(ids) if token == audio_token_id), None)
    if first is None:
        raise ArlError(f"the processor put no placeholder (token {audio_token_id}) into the prompt")
    rest = ids[first:]
    length = next((i for i, token in enumerate(rest) if token != audio_token_id), len(rest))
    if audio_token_id in rest[length:]:
        raise ArlError("the processor split the clip into several runs of placeholders")
    return [*ids[: first + 1], *rest[length:]]


def ask_of(meta: Mapping[str, Any], request: Mapping[str, Any]) -> Ask:
    """What is asked of an utterance. meta: its `.json`; request: of arl.json, as `arl init` was told.

    ArlError for a language that nobody knows.
    """
    language = request.get("language")
    if language == "sample":
        language = meta.get("lang")
    language = code_of(language) if language else None
    keywords = tuple(meta.get("keywords") or ()) if request.get("hotwords") else ()
    return Ask(request.get("instruction"), language or None, keywords, meta.get("lang"))
