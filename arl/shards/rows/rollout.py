"""The rollout column's row, and that of the wav column where it has no waveform."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args

from arl.shards.columns import NO_WAVE, ROLLOUT
from arl.shards.rows.form import are_ids, are_numbers, is_name, is_number, is_text, shown
from arl.shards.rows.row import Row

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Hypothesis:
    """One sample of the policy.

    text: as decoded, "" for acoustic tokens. tokens: token ids [R], the stop token included when it was sampled.
    logprobs: [R], natural log, at the rollout's temperature. finish: "stop" (it ended itself) or "length" (it was cut).
    residual: where a frame has other codes than its token, those of each token but the last [R - 1][L]; else empty.
    """

    text: str
    tokens: list[int]
    logprobs: list[float]
    finish: Finish
    residual: list[list[int]] = field(default_factory=list)

    @staticmethod
    def problems(value: Any) -> Iterator[str]:
        """One line for each thing that is wrong with a parsed hypothesis."""
        if not isinstance(value, dict):
            yield "not an object"
            return
        if not is_text(value.get("text")):
            yield "'text' is missing, or is not a text"
        tokens, logprobs = value.get("tokens"), value.get("logprobs")
        if not are_ids(tokens):
            yield "'tokens' is not a list of token ids"
        if not are_numbers(logprobs):
            yield "'logprobs' is not a list of numbers"
        elif isinstance(tokens, list) and len(tokens) != len(logprobs):
            yield f"{len(tokens)} tokens, but {len(logprobs)} logprobs"
        yield from residual_problems(value.get("residual", []), tokens)
        if value.get("finish") not in get_args(Finish):
            yield f"'finish' is {shown(value.get('finish'))}, not 'stop' or 'length'"

    def to_json(self) -> dict[str, Any]:
        own = {"text": self.text, "tokens": self.tokens, "logprobs": self.logprobs, "finish": self.finish}
        return own | ({"residual": self.residual} if self.residual else {})


def residual_problems(residual: Any, tokens: Any) -> Iterator[str]:
    """What is wrong with the other codes of a hypothesis' frames."""
    if not isinstance(residual, list) or not all(are_ids(codes) and codes for codes in residual):
        yield "'residual' is not a list of lists of codes"
    elif len({len(codes) for codes in residual}) > 1:
        yield "'residual' has frames of different numbers of codes"
    elif residual and isinstance(tokens, list) and len(residual) != len(tokens) - 1:
        yield f"{len(tokens)} tokens, but the other codes of {len(residual)}, not of all but the last"


@dataclass(frozen=True)
class Rollout(Row):
    """A group: `.rollout.json`. policy: the version that sampled it. temperature: 0 is greedy. hyps: [G] hypotheses,
    [] for an utterance that failed."""

    MEMBER: ClassVar[str] = ROLLOUT
    REMEDY: ClassVar[str] = "roll out again"

    policy: str
    temperature: float
    hyps: list[Hypothesis]

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        if not is_name(fields.get("policy")):
            yield "'policy' does not name a version"
        temperature = fields.get("temperature")
        if not is_number(temperature) or temperature < 0:
            yield f"'temperature' is {shown(temperature)}, not a number from 0"
        hyps = fields.get("hyps")
        if not isinstance(hyps, list):
            yield "'hyps' is not a list of hypotheses"
            return
        for number, hyp in enumerate(hyps):
            yield from (f"hyps[{number}]: {problem}" for problem in Hypothesis.problems(hyp))

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        hyps = [
            Hypothesis(hyp["text"], hyp["tokens"], hyp["logprobs"], hyp["finish"], hyp.get("residual", []))
            for hyp in fields["hyps"]
        ]
        return cls(fields["policy"], fields["temperature"], hyps)

    def to_json(self) -> dict[str, Any]:
        hyps = [hyp.to_json() for hyp in self.hyps]
        return {"policy": self.policy, "temperature": self.temperature, "hyps": hyps}


@dataclass(frozen=True)
class NoWave(Row):
    """Why a row of the wav column has no waveform: `.wav.json`."""

    MEMBER: ClassVar[str] = NO_WAVE
    REMEDY: ClassVar[str] = "decode again"

    error: str

    @classmethod
    def field_problems(cls, fields: dict[str, Any]) -> Iterator[str]:
        if not is_text(fields.get("error")):
            yield "'error' is missing, or is not a text"

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        return cls(fields["error"])

    def to_json(self) -> dict[str, Any]:
        return {"error": self.error}
