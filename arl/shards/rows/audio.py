"""The audio column's rows: what is known of an utterance, and a recording's acoustic tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from arl.shards.columns import CODES, META
from arl.shards.rows.form import are_ids, are_texts, is_number, is_plain, is_text, shown
from arl.shards.rows.row import Row
from arl.text.tags import problem as language_problem


@dataclass(frozen=True)
class Meta(Row):
    """What is known of an utterance: `.json` of the audio column.

    text: the reference transcript, or what is to be spoken. lang: a tag or name that
    `arl.text.tags` knows, "" when unknown. duration_s: of the audio in seconds, None when the data does not say.
    concatenated, texts: keys and texts of the clips it was joined from. rest: all other fields, as they are.
    """

    MEMBER: ClassVar[str] = META
    REMEDY: ClassVar[str] = "mend the data and make these shards again"
    OPTIONAL: ClassVar[tuple[str, ...]] = ("lang", "duration_s", "speaker", "keywords", "concatenated", "texts")

    text: str
    lang: str = ""
    duration_s: float | None = None
    speaker: str = ""
    keywords: list[str] = field(default_factory=list)
    concatenated: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        if not is_text(fields.get("text")):
            yield "'text' is missing, or is not a text"
        if not is_text(fields.get("lang", "")):
            yield "'lang' is not a text"
        elif problem := language_problem(fields.get("lang", "")):
            yield f"'lang': {problem}"
        if fields.get("speaker") is not None and not is_text(fields["speaker"]):
            yield "'speaker' is not a text"
        duration = fields.get("duration_s")
        if duration is not None and not (is_number(duration) and duration >= 0):
            yield f"'duration_s' is {shown(duration)}, not a number of seconds"
        keywords, keys, texts = (_or_empty(fields.get(name)) for name in ("keywords", "concatenated", "texts"))
        if not are_texts(keywords):
            yield "'keywords' is not a list of texts"
        if not are_texts(keys) or not are_texts(texts) or len(keys) != len(texts):
            yield "'concatenated' and 'texts' must name the same clips, in lists"
        if not is_plain(cls._rest(fields)):
            yield "a text that is no UTF-8, or lists too deep in one another"

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        known = {name: fields[name] for name in cls.OPTIONAL if fields.get(name) is not None}
        return cls(fields["text"], **known, rest=cls._rest(fields))

    @classmethod
    def _rest(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name != "text" and name not in cls.OPTIONAL}

    def to_json(self) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in self.OPTIONAL}
        given = {name: value for name, value in known.items() if value is not None and value != [] and value != ""}
        return {**self.rest, **given, "text": self.text}

    def others(self) -> dict[str, Any]:
        """What reward programs see as `meta`: the fields without text, lang and keywords."""
        fields = self.to_json()
        return {name: fields[name] for name in sorted(fields) if name not in ("text", "lang", "keywords")}


def _or_empty(value: Any) -> Any:
    """null is like a missing list."""
    return [] if value is None else value


@dataclass(frozen=True)
class Codes(Row):
    """A recording as acoustic tokens: `.codes.json`. codes: [T], from 0. rate_hz: codes a second."""

    MEMBER: ClassVar[str] = CODES
    REMEDY: ClassVar[str] = "encode the recording again"

    codes: list[int]
    rate_hz: float

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        if not are_ids(fields.get("codes")):
            yield "'codes' is not a list of codes"
        rate = fields.get("rate_hz")
        if not is_number(rate) or rate <= 0:
            yield f"'rate_hz' is {shown(rate)}, not a number of codes a second"

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        return cls(fields["codes"], fields["rate_hz"])

    def to_json(self) -> dict[str, Any]:
        return {"codes": self.codes, "rate_hz": self.rate_hz}
