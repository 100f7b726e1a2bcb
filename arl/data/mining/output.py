"""Writing what was chosen: shards of the audio column, and of the embeddings where they are known.

`D1/000000.tar` has the audio samples as they are (D3's with their `keywords`, joined ones new), and
`D1-emb/000000.tar` the embeddings of the same rows, where all of them were given: nothing has to be encoded again.

    write_set([row_of(candidate, {"drawn": 1})], StageRun("mine", out / "D0", arguments), fingerprint, batch=32)
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arl.data.corpora.prepare import DurationLimits, prepare
from arl.data.corpora.utterance import Bad, CorpusUtterance
from arl.data.mining.pool import Candidate, Place, read_members
from arl.errors import ArlError
from arl.runtime.stage import OpenShard, StageRun
from arl.shards.columns import META
from arl.shards.marker import read_marker
from arl.shards.record import read_record
from arl.shards.writer import ShardWriter

Members = dict[str, bytes]


@dataclass(frozen=True)
class SetRow:
    """One sample of a set.

    members: makes its audio sample. reason: for the manifest. source: the shard it is copied from, "" for a new one.
    embeddings: where they lie, if they are known.
    """

    key: str
    members: Callable[[], Members]
    reason: Mapping[str, Any]
    source: str = ""
    embeddings: Mapping[str, Place] = field(default_factory=dict)


def row_of(candidate: Candidate, reason: Mapping[str, Any], keywords: Sequence[str] = ()) -> SetRow:
    """keywords: become those of the sample, after the ones that it has."""

    def members() -> Members:
        found = candidate.members()
        if keywords:
            words = list(dict.fromkeys([*candidate.meta.keywords, *keywords]))
            found |= replace(candidate.meta, keywords=words).members()
        return found

    return SetRow(candidate.key, members, reason, str(candidate.shard), candidate.embeddings)


def row_of_joined(utterance: CorpusUtterance) -> SetRow:
    def members() -> Members:
        made = prepare(utterance, DurationLimits())
        if isinstance(made, Bad):
            raise ArlError(f"{made.where}: {made.reason}")
        return made.members

    return SetRow(utterance.key, members, {"concatenated": [part.key for part in utterance.parts]})


def write_set(rows: Sequence[SetRow], run: StageRun, fingerprint: str, batch: int) -> None:
    """Shards of the audio column."""

    def fill(shard: OpenShard, row: SetRow) -> None:
        with run.phase("run"):
            members = row.members()
        shard.write(row.key, members)
        shard.audio_s += json.loads(members[META])["duration_s"]

    _write(rows, run, fingerprint, batch, fill)


def write_embeddings(rows: Sequence[SetRow], run: StageRun, fingerprint: str, batch: int, policy: Path | None) -> None:
    """The same rows as `write_set`, with the embeddings' members. policy: whose they are, for `arl rollout`."""

    def fill(shard: OpenShard, row: SetRow) -> None:
        shard.write(row.key, read_members(row.embeddings))
        if policy is not None:
            shard.figures["policy_path"] = str(policy)

    _write(rows, run, fingerprint, batch, fill)


def _write(
    rows: Sequence[SetRow], run: StageRun, fingerprint: str, batch: int, fill: Callable[[OpenShard, SetRow], None]
) -> None:
    """Shards 000000, 000001, …; those that an interrupted run has finished stay."""
    for start in range(0, len(rows), batch):
        name = f"{start // batch:06d}"
        marker = read_marker(run.path(name))
        if marker is not None and marker.fingerprint == fingerprint:
            continue
        with ShardWriter(run.path(name), fingerprint) as writer:
            shard = OpenShard(run, writer)
            for row in rows[start : start + batch]:
                fill(shard, row)
            writer.finish()
            run.record(name, shard)
        run.phases.clear()


def policy_of(candidates: Sequence[Candidate], out: Path) -> Path | None:
    """The policy whose frontend made the embeddings, as the records beside them say, relative to `out`.

    None where no record says it. Raises ArlError for embeddings of several frontends.
    """
    folders = dict.fromkeys(path.parent for each in candidates for path, _, _ in each.embeddings.values())
    frontends: dict[str, Path] = {}
    for folder in folders:
        for line in read_record(folder):
            if "policy_path" in line:
                frontend = str(line.get("arguments", {}).get("frontend"))
                frontends.setdefault(frontend, (folder / line["policy_path"]).resolve())
    if len(frontends) > 1:
        where = ", ".join(map(str, folders))
        raise ArlError(f"{where}: embeddings of {len(frontends)} frontends cannot be in one set; mine these apart")
    return next((Path(os.path.relpath(policy, out.resolve())) for policy in frontends.values()), None)
