"""The fields of a policy's `arl.json`, read with all checks: what is missing or of another form is one line.

    read_marker(Path("policy/arl.json"))["prompt"]

A policy is untrusted input, as a shard is. Left out: the folder around it, and its digests (`arl.policy`).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.rows.form import MAX_ID, are_ids, are_numbers, is_number, is_text, shown
from arl.text.transcript import KINDS

REQUIRED = "family", "version", "step", "prompt", "audio_token_id", "eos_token_id"


def is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ID


def is_above_0(value: Any) -> bool:
    return is_number(value) and value > 0


def are_named_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


def is_rule(value: Any) -> bool:
    """Of `arl.text.transcript`."""
    return are_named_texts(value) and value.keys() <= KINDS.keys()


def is_request(value: Any) -> bool:
    """What of `arl init` shapes the prompt of a speech LLM."""
    return (
        isinstance(value, dict)
        and all(value.get(name) is None or is_text(value[name]) for name in ("instruction", "language"))
        and type(value.get("hotwords", False)) is bool
    )


def is_probe(value: Any) -> bool:
    """N + 1 tokens and the N log-probabilities of all but the first."""
    return (
        isinstance(value, dict)
        and are_ids(tokens := value.get("tokens"))
        and are_numbers(logprobs := value.get("logprobs"))
        and len(tokens) == len(logprobs) + 1 > 1
    )


FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {  # of arl.json's fields, as far as they are there
    **dict.fromkeys(("family", "version"), (lambda value: is_text(value) and value != "", "a name")),
    **dict.fromkeys(
        ("frontend", "base", "task", "text", "made", "tower", "tower_digest", "prompt_template", "language",
         "predictor"),
        (is_text, "a text"),
    ),
    **dict.fromkeys(
        ("step", "audio_token_id", "acoustic_first", "acoustic_codes", "longest"), (is_id, "an integer from 0")
    ),
    "prompt": (are_ids, "a list of token ids"),
    "eos_token_id": (lambda value: is_id(value) or are_ids(value), "a token id or a list of them"),
    **dict.fromkeys(
        ("embedding_dim", "sample_rate", "context", "embedding_rate_hz", "token_rate_hz", "longest_s",
         "longest_per_character"),
        (is_above_0, "a number above 0"),
    ),
    "digests": (are_named_texts, "an object of texts"),
    "transcript": (is_rule, f"an object of texts by {', '.join(KINDS)}"),
    "request": (is_request, "an instruction, a language and hotwords"),
    "probe": (is_probe, "tokens with their log-probabilities"),
}  # fmt: skip


def read_marker(path: Path) -> dict[str, Any]:
    """The fields of an `arl.json`. ArlError where it is no JSON object, or a field is missing or of another form."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArlError(f"{path}: not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ArlError(f"{path}: not a JSON object")
    if missing := set(REQUIRED) - set(fields):
        raise ArlError(f"{path}: lacks {', '.join(sorted(missing))}")
    for name, (is_right, form) in FORMS.items():
        value = fields.get(name)
        if (value not in (None, {}) or name in REQUIRED) and not is_right(value):
            raise ArlError(f"{path}: {name} is {shown(value)}, not {form}: take the policy from its source again")
    if not as_ids(fields["eos_token_id"]):
        raise ArlError(f"{path}: eos_token_id is empty, so that no response would end")
    return fields


def as_ids(value: int | Sequence[int]) -> list[int]:
    """One token id or several, as a list."""
    return [value] if isinstance(value, int) else list(value)
