"""Where the references are: the `.json` member of the audio shards, found from the rollouts alone.

A stage copies nothing forward, but records where its inputs lay (`sources` in its `stage.jsonl`). From
rollout/ that leads to emb/ and from there to the audio shards, so that `arl reward --shards rollout/` needs
no second `--shards`. Left out: searching anywhere that no record names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from arl.errors import ArlError
from arl.shards.columns import AUDIO, META
from arl.shards.paths import SUFFIX
from arl.shards.reader import Sample, read_joined, read_shard, scan_shard
from arl.shards.record import read_record


def holds(path: Path, member: str) -> bool:
    """Whether the first sample of a shard has this member; reads headers only. True for a shard without samples."""
    for sample in scan_shard(path, lambda extension: False):
        return member in sample.offsets
    return True


def find_column(inputs: Sequence[Path], member: str) -> Path | None:
    """The shard whose samples have `member`, of the same name as `inputs`, in the nearest recorded source.

    None when one of `inputs` has it itself, or no samples. ArlError when no source has it.
    """
    if any(holds(path, member) for path in inputs):
        return None
    name = inputs[0].name
    folders = [path.parent for path in inputs]
    for folder in folders:  # grows while it is walked: nearest first
        folders += [source for source in _sources(folder, name) if source not in folders]
        path = folder / name
        if path not in inputs and path.is_file() and holds(path, member):
            return path
    raise ArlError(
        f"{inputs[0]}: no .{member} member here or in the recorded sources "
        f"({', '.join(map(str, folders[len(inputs) :])) or 'none'}); name the shards that have it: --shards data/train"
    )


def read_with_references(inputs: Sequence[Path], references: Path | None) -> Iterator[Sample]:
    """The joined samples of `inputs`, each with the `.json` member of its namesake in `references`.

    Where its audio lies there comes along, in `offsets` only.
    `references` may have samples that failed in an earlier stage; ArlError when it lacks one that is needed, and when
    its bytes are not those of its digest: shards that are found are verified as given ones are.
    """
    if references is None:
        yield from read_joined(inputs)
        return
    known = {sample.key: _without_audio(sample) for sample in read_shard(references)}
    for sample in read_joined(inputs):
        reference = known.get(sample.key)
        if reference is None or META not in reference.members:
            raise ArlError(
                f"{references}: no .{META} for sample {sample.key!r} of {inputs[0]}; "
                "if these are not its audio shards, name them: --shards data/train"
            )
        sample.members[META] = reference.members[META]
        for extension in reference.offsets.keys() & {META, *AUDIO}:
            sample.offsets[extension] = reference.offsets[extension]
        yield sample


def _without_audio(sample: Sample) -> Sample:
    """Only the `.json` member; where the others lie stays known."""
    kept = {META: sample.members[META]} if META in sample.members else {}
    return replace(sample, members=kept)


def _sources(folder: Path, shard: str) -> list[Path]:
    """The folders that the record in `folder` names as inputs, of this shard if it is recorded, else of any."""
    lines = read_record(folder)
    own = [line for line in lines if line["shard"] == shard.removesuffix(SUFFIX)] or lines
    words = dict.fromkeys(source for line in own for source in line.get("sources", []))
    paths = [folder / word for word in words]
    return [(path.parent if path.suffix == SUFFIX or "{" in path.name else path).resolve() for path in paths]
