"""What every row has in common: its member's name, its problems, reading and writing."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from arl.errors import ArlError
from arl.shards.columns import dumps
from arl.shards.reader import Sample
from arl.shards.rows.form import TOO_DEEP, is_deep


@dataclass(frozen=True)
class Row(ABC):
    """One JSON member of a sample. Optional fields that a shard lacks are None or empty, and are not written."""

    MEMBER: ClassVar[str]
    REMEDY: ClassVar[str]  # the end of an error message

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """The sample's row. ArlError naming shard, sample and field when it is missing or of another form."""
        fields = sample.json(cls.MEMBER)
        for problem in cls.problems(fields):
            raise ArlError(f"{sample.where}: {cls.MEMBER}: {problem}; {cls.REMEDY}")
        return cls.read(fields)

    @classmethod
    def problems(cls, value: Any) -> Iterator[str]:
        """One line for each thing that is wrong with the parsed member, none for a good one."""
        if isinstance(value, dict):
            yield from cls.field_problems(value)
        else:
            yield "not a JSON object"
        if is_deep(value):
            yield TOO_DEEP

    @classmethod
    @abstractmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        """`problems` of a member that is a JSON object."""

    @classmethod
    @abstractmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        """The row of a member without problems."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The content of the member."""

    def members(self) -> dict[str, bytes]:
        """For `ShardWriter.write`. ArlError for numbers and texts that JSON has no form for."""
        return {self.MEMBER: dumps(self.to_json())}
