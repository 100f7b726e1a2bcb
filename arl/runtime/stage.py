"""What every stage does around its work: which shards are to do, where they go, and one record per shard.

A stage's output shard is skipped when it is complete and was made with the same arguments from the same
inputs: the shard's end marker carries a fingerprint of (stage, arguments, policy, the inputs' digests),
so this costs one read of each file's tail. Several processes share the shards (ranks.py). Each finished
shard adds a line to `stage.jsonl` beside it;
`arl report` and the loop's line read only that.

    run = StageRun("rollout", out, arguments, sources=shards)
    for name, inputs in run.pending(joined_shards(shards)):
        with run.shard(name, inputs) as shard:
            shard.write(key, {"rollout.json": data})
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.errors import ArlError, UsageError
from arl.runtime.console import note
from arl.runtime.process import age_s
from arl.runtime.ranks import part
from arl.shards.durable import refuse_unwritable
from arl.shards.fingerprint import fingerprint_of, shard_digests
from arl.shards.growing import growth_of
from arl.shards.marker import read_marker
from arl.shards.paths import SPOOL
from arl.shards.record import StageRecord, append_record, read_record
from arl.shards.writer import ShardWriter


def default_out(stage: str, shards: Sequence[str | Path]) -> Path:
    """The folder named after the stage beside the first `--shards` (`emb/` → `rollout/`)."""
    first = Path(str(shards[0]))
    if str(first) == "-" or first.parent.name.startswith(SPOOL):
        raise ArlError("reading standard input needs --out")
    folder = first.parent if first.suffix == ".tar" else first
    return folder.resolve().parent / stage


MOST_NAMED = 8  # missing shards in a line
_began: float | None = None  # time.monotonic() at which a resident process's job was asked for


def job_began(at: float) -> None:
    """Said by a resident process before each job: from here on its time and its peak memory are counted.

    at: time.monotonic() when the command line was started.
    """
    global _began
    _began = at
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    if device_peak():
        sys.modules["torch"].cuda.reset_peak_memory_stats()


def seconds_since_start() -> float:
    """Wall seconds since this command was started: what interpreter and imports have cost so far."""
    return age_s() if _began is None else time.monotonic() - _began


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in MB (1e6 bytes); of a resident process, that of its job."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def device_peak() -> dict[str, float]:
    """{"device_peak_mb": MB (1e6 bytes) that torch had on this process's GPU at most}; {} without a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"device_peak_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1)}


class Phases:
    """Wall seconds of a stage's moments: load (process, imports), wake (onto the device), run, sleep, write."""

    def __init__(self) -> None:
        self.seconds = {"load": seconds_since_start(), "wake": 0.0, "run": 0.0, "sleep": 0.0, "write": 0.0}
        self._inside = 0.0  # seconds of the phases inside the present one

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the block's wall seconds to one of them; those of a phase inside it count for that one only."""
        start, before, self._inside = time.monotonic(), self._inside, 0.0
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self.seconds[name] += seconds - self._inside
            self._inside = before + seconds

    def rounded(self) -> dict[str, float]:
        """For a record."""
        return {name: round(value, 4) for name, value in self.seconds.items()}

    def clear(self) -> None:
        """Counts from zero: a record has been written."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)


@dataclass
class StageRun:
    """One invocation of a stage over the shards of its inputs.

    arguments: everything that changes the result (paths do not), JSON-serialisable.
    sources: the input folders, recorded so that a later stage can find its way back to the audio.
    """

    stage: str
    out: Path
    arguments: Mapping[str, Any]
    sources: Sequence[str | Path] = ()
    policy: str | None = None
    force: bool = False
    phases: Phases = field(default_factory=Phases)
    skipped: int = 0
    shards: list[tuple[str, Sequence[Path]]] = field(default_factory=list)  # all of them, whoever makes them

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Adds the block's wall seconds to one of load, wake, run, sleep, write."""
        return self.phases.phase(name)

    def fingerprint(self, inputs: Sequence[Path]) -> str:
        """Names the result: equal stage, arguments, policy and input contents give an equal fingerprint."""
        return fingerprint_of([self.stage, dict(self.arguments), self.policy, shard_digests(inputs)])

    def pending(self, shards: Iterable[tuple[str, Sequence[Path]]]) -> Iterator[tuple[str, Sequence[Path]]]:
        """Yields the shards of this process's part still to do; complete ones made the same way are counted and left
        alone."""
        self.shards, (index, count) = list(shards), part()
        for name, inputs in self.shards[index::count]:
            self._refuse_input(name, inputs)
            if not self.force and self.is_done(name, inputs):
                self.skipped += 1
            else:
                refuse_unwritable(self.out, is_filled=True)
                yield name, inputs
        if self.skipped:
            note(f"{self.stage}: {self.skipped} shard(s) in {self.out} already done (-f redoes them)")

    def is_done(self, name: str, inputs: Sequence[Path]) -> bool:
        """Whether the output shard is complete and was made the same way."""
        marker = read_marker(self.path(name))
        return marker is not None and marker.fingerprint == self.fingerprint(inputs)

    def finish(self) -> None:
        """Where several processes share the shards: says which of all are missing. That of the last one says none."""
        index, count = part()
        if count == 1:
            return
        missing = [name for name, inputs in self.shards if not self.is_done(name, inputs)]
        whole = f"all {len(self.shards)} shard(s) are there"
        said = f"{len(missing)} of {len(self.shards)} missing: {' '.join(missing[:MOST_NAMED])}" if missing else whole
        more = " …" if len(missing) > MOST_NAMED else ""
        note(f"{self.stage}: {self.out}: part {index}/{count} is done; {said}{more}")

    def _refuse_input(self, name: str, inputs: Sequence[Path]) -> None:
        """UsageError where the output shard would replace one of its inputs, be it through links."""
        target = self.path(name).resolve()
        for path in inputs:
            if path.resolve() == target:
                raise UsageError(
                    f"--out {self.out}: {self.stage} would write over its input {path}; give another folder"
                )

    def path(self, name: str) -> Path:
        return self.out / f"{name}.tar"

    @contextmanager
    def shard(self, name: str, inputs: Sequence[Path], copy: int | None = None) -> Iterator["OpenShard"]:
        """Opens the output shard; at the end of the block it is recorded and published, on an exception removed.

        copy: descriptor of a pipe that gets the same bytes as they come.
        """
        grows = any(growth_of(path) for path in inputs)
        writer = ShardWriter(self.path(name), "" if grows else self.fingerprint(inputs), copy)
        with writer:
            shard = OpenShard(self, writer)
            yield shard
            if grows:  # what it was made from is known only now
                writer.fingerprint = self.fingerprint(inputs)
            writer.finish()
            self.record(name, shard)
        self.phases.clear()

    def record(self, name: str, shard: "OpenShard") -> None:
        """Appends the shard's line to `stage.jsonl`."""
        seconds, figures = self.phases.rounded(), shard.figures | device_peak()
        if shard.audio_s:
            figures |= {"audio_s": round(shard.audio_s, 3), "rtf": round(sum(seconds.values()) / shard.audio_s, 5)}
        record = StageRecord(
            self.stage, name, shard.samples, seconds, peak_memory_mb(), self.policy, shard.writer.fingerprint,
            self.arguments, self.relative_sources(), figures,
        )  # fmt: skip
        append_record(self.out, record)

    def relative_sources(self) -> list[str]:
        """The input folders relative to the output folder, so that a run can be moved as a whole."""
        kept = [Path(source).resolve() for source in self.sources if growth_of(Path(source)) is None]
        return [os.path.relpath(source, self.out.resolve()) for source in kept]


@dataclass
class OpenShard:
    """An output shard being written; `figures` go into its `stage.jsonl` line."""

    run: StageRun
    writer: ShardWriter
    samples: int = 0
    audio_s: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        with self.run.phase("write"):
            self.writer.write(key, members)
        self.samples += 1


def policy_of_embeddings(shards: Sequence[str]) -> Path:
    """The policy that the `encode` record beside the embeddings names. ArlError when there is none."""
    for source in shards:
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        for line in read_record(folder):
            if "policy_path" in line:
                return folder / line["policy_path"]
    raise UsageError(f"{', '.join(shards)}: no record of the policy these embeddings were made with; give --policy")
