"""The emb column's row: what the LLM is conditioned on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from arl.shards.columns import EMB, PROMPT
from arl.shards.reader import Sample
from arl.shards.rows.form import are_ids, is_name, is_text, shown
from arl.shards.rows.row import Row


@dataclass(frozen=True)
class Prompt(Row):
    """`.prompt.json`.

    input_ids: token ids [P] with one placeholder per audio clip; [] for an utterance that could not be encoded.
    max_new_tokens: the longest response, None: as long as the rollout allows. voice: of synthesis. before: what the
    model writes in front of a transcript, for supervised training. error: why the utterance could not be encoded; its
    row stays, so that later columns have the same rows.
    """

    MEMBER: ClassVar[str] = PROMPT
    REMEDY: ClassVar[str] = "encode again"

    input_ids: list[int]
    max_new_tokens: int | None = None
    voice: str | None = None
    error: str | None = None
    before: str | None = None

    @classmethod
    def failed(cls, error: str) -> Self:
        """The row of an utterance that could not be encoded."""
        return cls([], error=error)

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        ids, error = fields.get("input_ids"), fields.get("error")
        if not are_ids(ids) or not (ids or error):
            yield "'input_ids' is not a list of token ids"
        longest = fields.get("max_new_tokens", 1)
        if not are_ids([longest]) or longest < 1:
            yield f"'max_new_tokens' is {shown(longest)}, not a number of tokens"
        if "voice" in fields and not is_name(fields["voice"]):
            yield f"'voice' is {shown(fields['voice'])}, not a name"
        for name in ("error", "before"):
            if not is_text(fields.get(name, "")):
                yield f"{name!r} is not a text"

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        optional = ("max_new_tokens", "voice", "error", "before")
        return cls(fields["input_ids"], *map(fields.get, optional))

    def to_json(self) -> dict[str, Any]:
        optional = {
            "max_new_tokens": self.max_new_tokens, "voice": self.voice, "error": self.error, "before": self.before,
        }  # fmt: skip
        return {"input_ids": self.input_ids} | {name: v for name, v in optional.items() if v is not None}


def failed_to_encode(sample: Sample) -> bool:
    """Whether this row of an embedding shard stands for an utterance that could not be encoded: no embeddings."""
    return EMB not in sample.members and Prompt.of(sample).error is not None
