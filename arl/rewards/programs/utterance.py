"""What a reward program sees: one utterance with its group of hypotheses.

On a program's standard input an utterance is one JSON line; in Python it is an `Utterance`. Both say the
same, and `Utterance.to_json` / `from_json` convert exactly. Standard library only: this module is imported
by reward programs that run in an environment of their own.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from arl.errors import ArlError
from arl.shards.place import AudioSlice


@dataclass(frozen=True)
class RewardHypothesis:
    """One sample of the policy.

    text: as decoded (empty when the policy stopped at once). tokens: its token ids, without the prompt.
    finish: "stop" (it ended itself) or "length" (it was cut). logprob: the sum over its tokens, natural log,
    None when unknown. wav: its waveform, for speech synthesis after `arl decode`.
    """

    text: str
    tokens: list[int] = field(default_factory=list)
    finish: str = "stop"
    logprob: float | None = None
    wav: AudioSlice | None = None

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {
            "text": self.text, "tokens": self.tokens, "finish": self.finish, "logprob": self.logprob
        }  # fmt: skip
        if self.wav is not None:
            line["wav"] = self.wav.to_json()
        return line


@dataclass(frozen=True)
class Utterance:
    """One utterance and its group.

    ref: the reference transcript (for synthesis, the text to speak). lang: as in the audio shards, "" when
    unknown. keywords: words that matter, from the data. meta: what else the data says (duration_s, speaker, …).
    audio: the clip that was recognised, None where the audio shard has none or is not known.
    """

    key: str
    ref: str
    lang: str
    hyps: list[RewardHypothesis]
    keywords: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    audio: AudioSlice | None = None

    @property
    def duration_s(self) -> float | None:
        """The audio's length as the data has it, None when it does not say."""
        value = self.meta.get("duration_s")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def copy(self) -> "Utterance":
        """One of its own for a program: what it changes there, nobody else sees."""
        hyps = [replace(hyp, tokens=list(hyp.tokens)) for hyp in self.hyps]
        return replace(self, hyps=hyps, keywords=list(self.keywords), meta=deepcopy(self.meta))

    def to_json(self) -> dict[str, Any]:
        line = {
            "key": self.key, "ref": self.ref, "lang": self.lang, "keywords": self.keywords,
            "hyps": [hypothesis.to_json() for hypothesis in self.hyps], "meta": self.meta,
        }  # fmt: skip
        return line if self.audio is None else line | {"audio": self.audio.to_json()}

    @classmethod
    def from_json(cls, line: Any) -> "Utterance":
        """Reads a parsed input line. ArlError naming the field that is missing or of the wrong type."""
        where = f"utterance {line['key']!r}" if isinstance(line, dict) and "key" in line else "utterance"
        return cls(
            key=_get(line, "key", str, where),
            ref=_get(line, "ref", str, where),
            lang=_get(line, "lang", str, where),
            hyps=[_hypothesis(h, f"{where}, hypothesis {i}") for i, h in enumerate(_get(line, "hyps", list, where))],
            keywords=_get(line, "keywords", list, where),
            meta=_get(line, "meta", dict, where),
            audio=_clip(line, "audio", where),
        )


def _hypothesis(line: Any, where: str) -> RewardHypothesis:
    return RewardHypothesis(
        text=_get(line, "text", str, where),
        tokens=_get(line, "tokens", list, where),
        finish=_get(line, "finish", str, where),
        logprob=_get(line, "logprob", (int, float, type(None)), where),
        wav=_clip(line, "wav", where),
    )


def _clip(line: Any, name: str, where: str) -> AudioSlice | None:
    """The audio file in a field that may be missing."""
    clip = line.get(name) if isinstance(line, dict) else None
    return None if clip is None else AudioSlice(*(_get(clip, k, t, where) for k, t in _CLIP_FIELDS))


_CLIP_FIELDS: tuple[tuple[str, type], ...] = (("path", str), ("offset", int), ("size", int))


def _get(line: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`line[name]`, checked."""
    if not isinstance(line, Mapping):
        raise ArlError(f"{where}: a JSON object is expected, this is {type(line).__name__}")
    if name not in line:
        raise ArlError(f"{where}: no {name!r}; the fields are in stages/README.md")
    if not isinstance(line[name], kind):
        raise ArlError(f"{where}: {name!r} has the wrong type ({type(line[name]).__name__})")
    return line[name]
