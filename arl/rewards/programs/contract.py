"""The contract of a reward program: one answer per utterance, checked to the letter.

A program reads one JSON line per utterance (`UTTERANCE_SCHEMA`) and writes one line per line read, in the
same order (`ANSWER_SCHEMA`): `{"key", "rewards": [G numbers or null], "metrics"?: {name: [G]}}`. null excludes
a hypothesis from its group. A wrong key or length, NaN or infinity, a string or a boolean instead of a
number, and an unknown field are refused with an ArlError that names the program, the line and the key:
a reward that failed must never look like a 0. Standard library only, as it runs inside the programs too.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arl.errors import ArlError
from arl.rewards.programs.utterance import Utterance

_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_GROUP = {"type": "array", "items": {"type": ["number", "null"]}}
_CLIP = {
    "type": "object",
    "required": ["path", "offset", "size"],
    "properties": {"path": _TEXT, "offset": {"type": "integer"}, "size": {"type": "integer"}},
}

UTTERANCE_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A line on a reward program's standard input",
    "type": "object",
    "required": ["key", "ref", "lang", "keywords", "hyps", "meta"],
    "properties": {
        "key": _TEXT,
        "ref": _TEXT,
        "lang": _TEXT,
        "keywords": {"type": "array", "items": _TEXT},
        "meta": {"type": "object"},
        "audio": _CLIP,
        "hyps": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["text", "tokens", "finish", "logprob"],
                "properties": {
                    "text": _TEXT,
                    "tokens": {"type": "array", "items": {"type": "integer"}},
                    "finish": {"enum": ["stop", "length"]},
                    "logprob": {"type": ["number", "null"]},
                    "wav": _CLIP,
                },
            },
        },
    },
}
ANSWER_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A line on a reward program's standard output (each list has one entry per hypothesis)",
    "type": "object",
    "required": ["key", "rewards"],
    "additionalProperties": False,
    "properties": {"key": _TEXT, "rewards": _GROUP, "metrics": {"type": "object", "additionalProperties": _GROUP}},
}


@dataclass(frozen=True)
class Answer:
    """A checked answer: `rewards` and every metric have one finite float or None per hypothesis."""

    key: str
    rewards: list[float | None]
    metrics: dict[str, list[float | None]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {"key": self.key, "rewards": self.rewards}
        return line | {"metrics": self.metrics} if self.metrics else line


def utterance_line(utterance: Utterance) -> bytes:
    """An utterance as a program reads it: one UTF-8 JSON line. ArlError when its data holds NaN."""
    return _line(utterance.to_json(), f"utterance {utterance.key!r}")


def answer_line(answer: Answer) -> bytes:
    """An answer as a program writes it: one UTF-8 JSON line."""
    return _line(answer.to_json(), f"answer {answer.key!r}")


def parse_utterance(line: bytes) -> Utterance:
    """Reads one input line. ArlError saying what is wrong with it."""
    return Utterance.from_json(_load(line, "utterance"))


def parse_answer(line: bytes, utterance: Utterance, program: str, number: int) -> Answer:
    """Reads and checks the answer in output line `number` (from 1) of `program`, which must be `utterance`'s."""
    where = f"{program}: line {number} (key {utterance.key!r})"
    return check_answer(_load(line, where), utterance, where)


def check_answer(answer: Any, utterance: Utterance, where: str) -> Answer:
    """Checks a parsed answer against the utterance it answers. ArlError beginning with `where`."""
    if not isinstance(answer, Mapping):
        raise ArlError(f"{where}: the answer is not a JSON object")
    unknown = sorted(set(answer) - {"key", "rewards", "metrics"})
    if unknown:
        raise ArlError(f"{where}: unknown field {unknown[0]!r}; an answer has key, rewards and metrics")
    if answer.get("key") != utterance.key:
        raise ArlError(f"{where}: answered with key {answer.get('key')!r}; answers must come in the order of the input")
    if "rewards" not in answer:
        raise ArlError(f"{where}: no 'rewards'")
    metrics = answer.get("metrics", {})
    if not isinstance(metrics, Mapping):
        raise ArlError(f"{where}: 'metrics' is not an object of lists")
    n = len(utterance.hyps)
    return Answer(
        utterance.key,
        _numbers(answer["rewards"], n, where, "rewards"),
        {str(name): _numbers(values, n, where, f"metric {name!r}") for name, values in metrics.items()},
    )


def _numbers(values: Any, n: int, where: str, name: str) -> list[float | None]:
    """A list of `n` finite floats or Nones."""
    if not isinstance(values, list):
        raise ArlError(f"{where}: {name} is not a list")
    if len(values) != n:
        raise ArlError(f"{where}: {name} has {len(values)} entries for {n} hypotheses")
    if set(map(type, values)) <= _NUMBERS and (floats := _finite(values)):  # nearly always
        return floats
    return [None if value is None else _number(value, f"{where}: {name}[{i}]") for i, value in enumerate(values)]


_NUMBERS = {float, int}


def _finite(values: list[float]) -> list[float | None] | None:
    """The numbers as floats, None where one, or their sum, is beyond the floats."""
    try:
        floats = list(map(float, values))
    except OverflowError:
        return None
    return [*floats] if math.isfinite(sum(floats)) else None


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArlError(f"{where} is {value!r}, not a number; null excludes a hypothesis")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        number = math.inf
    if not math.isfinite(number):
        raise ArlError(f"{where} is {number}, which is refused; null excludes a hypothesis")
    return number


def _line(value: Any, where: str) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (ValueError, TypeError) as error:  # NaN, a lone surrogate, or an object that JSON does not have
        raise ArlError(f"{where}: cannot be written as JSON ({error})") from error


def _load(line: bytes, where: str) -> Any:
    def refuse(name: str) -> None:
        raise ArlError(f"{where}: {name} is refused; null excludes a hypothesis")

    try:
        return json.loads(line, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        shown = line[:60].decode(errors="replace").strip()
        raise ArlError(f"{where}: not a JSON line: {shown!r} ({error})") from error
