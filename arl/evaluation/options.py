"""What `arl eval` was asked for: the flags that both kinds of evaluation have, and those of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from arl.engine.state import FOLDER


@dataclass(frozen=True)
class RecognitionOptions:
    """Flags that fit recognition only. transcripts: another system's, in place of an engine's hypotheses."""

    transcripts: Path | None = None
    engine: Path = Path(FOLDER)
    max_new_tokens: int = 256
    max_failed: int = 0


@dataclass(frozen=True)
class SynthesisOptions:
    """Flags that fit synthesis only. skip: what is not measured, words with commas between them."""

    voices: Path | None = None
    judge: Path | None = None
    samples: int = 8
    skip: str = ""
    device: str = "auto"
    threads: int = 0


@dataclass(frozen=True)
class EvalOptions:
    """A whole command line.

    sets: name → its sources, {} to compare two folders. compare: the folders of `--compare`. kind: where the
    command says it; None where policy or shards do. given: names of the flags on the command line.
    """

    sets: Mapping[str, Sequence[str]]
    compare: Sequence[Path] = ()
    out: Path | None = None
    policy: Path | None = None
    recognition: RecognitionOptions = field(default_factory=RecognitionOptions)
    synthesis: SynthesisOptions = field(default_factory=SynthesisOptions)
    top: int = 10
    seed: int = 0
    as_json: bool = False
    kind: Literal["recognition", "synthesis"] | None = None
    given: frozenset[str] = frozenset()

    @property
    def sources(self) -> list[str]:
        """The shards of all sets."""
        return [source for sources in self.sets.values() for source in sources]

    @property
    def read(self) -> list[str | Path]:
        """All files and folders that are read."""
        others = (self.policy, self.recognition.transcripts, self.synthesis.voices, self.synthesis.judge)
        return [*self.sources, *self.compare, *(path for path in others if path is not None)]


@dataclass(frozen=True)
class Measured:
    """The rows of `utterances.jsonl`, and what the summary says before (whose they are) and after the metrics."""

    rows: list[dict[str, Any]]
    of: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
