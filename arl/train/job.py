"""What one `arl update` is asked to do, and the fingerprint of its result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arl.losses.heads import HeadSpec
from arl.policy import MARKER, Policy
from arl.shards.fingerprint import fingerprint_of, shard_digests
from arl.train.settings import UpdateSettings

if TYPE_CHECKING:
    from arl.train.projector import Frontend

Shard = tuple[str, Sequence[Path]]  # a name, and the path of each joined column
LoadFrontend = Callable[[Path], "Frontend"]
BatchShards = tuple[str, Sequence[Sequence[Path]]]  # those of one batch: its name, and each one's paths


@dataclass(frozen=True)
class UpdateJob:
    """One update.

    start: the policy to train. reference: that of the KL, if any. shards: to train on. out: the next policy's folder.
    settings: everything else that changes the result. heads: what a loss on acoustic tokens maximises, named in the
    settings by their content. load_frontend: reads a frontend's folder, where the projector is trained. run_start: the
    step of the policy that the run began with, which the schedule counts from; None where it is not known.
    """

    start: Policy
    reference: Policy | None
    shards: Sequence[Shard]
    out: Path
    settings: UpdateSettings
    heads: Sequence[HeadSpec] = ()
    load_frontend: LoadFrontend | None = None
    run_start: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Names the next policy: equal policy, reference, settings and shard contents give equal weights."""
        policies = [self.start.version, self.start.frontend_id, self.reference.version if self.reference else None]
        if self.reference is None and self.run_start and self.start.step > self.run_start:
            policies.append(f"run from step {self.run_start}")
        return fingerprint(policies, self.settings.to_json(), self.shards)

    @property
    def batches(self) -> list[BatchShards]:
        """The shards of each batch: one, or with `gather` all of them."""
        if self.settings.gather:
            return [(self.shards[-1][0], [paths for _, paths in self.shards])]
        return [(name, [paths]) for name, paths in self.shards]

    @property
    def checkpoint(self) -> Path:
        """Where an unfinished run keeps its last whole state."""
        return self.out.parent / f".{self.out.name}.checkpoint"

    def is_done(self) -> bool:
        """Whether `out` already is what this job would write."""
        return is_current(self.out, self.fingerprint)


def is_current(folder: Path, fingerprint: str) -> bool:
    """Whether the policy in a folder was made by the job of this fingerprint, which arl.json has as "made"."""
    return (folder / MARKER).is_file() and Policy.open(folder).fields.get("made") == fingerprint


def fingerprint(policies: Sequence[str | None], settings: Mapping[str, Any], shards: Sequence[Shard]) -> str:
    """32 hex digits over the policies' versions, the settings and the shards' contents."""
    digests = shard_digests(path for _, paths in shards for path in paths)
    return fingerprint_of([*policies, dict(settings), digests])
