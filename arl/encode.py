"""`arl encode`: audio shards → embedding shards, once per dataset.

    arl encode --shards data/train --policy policy -o emb
    arl encode --shards texts/ --policy speaker -o emb            # a synthesis policy: see encode_speech.py

The policy's frontend (frozen audio tower + projector) runs on length-bucketed batches; each utterance
becomes `.emb.safetensors` [T, H] and `.prompt.json` with one placeholder for the clip. `--features` stops
before the projector and writes `.feat.safetensors`, which supervised training of the projector reads.
An utterance that cannot be read (counted against --max-failed) becomes an empty prompt with its error, so that
later columns keep the same rows.
Left out: training of any kind; the frontend does not change in reinforcement learning, so a dataset that
the same frontend has encoded is skipped, whatever the policy's version.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.shards.reader import Sample


def encode(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    features: Annotated[
        bool, typer.Option("--features", help="Write the tower's features, before the projector.")
    ] = False,
    batch_s: Annotated[float, typer.Option("--batch-s", help="Audio seconds per batch, padding included.")] = 120.0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Compute audio embeddings, once per dataset.

    Example: arl encode --shards data/train --policy policy -o emb
    """
    from arl import resident
    from arl.ahead import ahead
    from arl.console import progress
    from arl.device import pick_device
    from arl.encode_speech import encode_texts
    from arl.errors import UsageError
    from arl.lease import device_lease
    from arl.models import family
    from arl.policy import Policy
    from arl.shards.paths import joined_shards
    from arl.shards.reader import read_joined
    from arl.stage import StageRun, default_out

    if policy is None:
        raise UsageError("arl encode needs --policy (or ARL_POLICY)")
    opened = Policy.open(policy)
    arguments = {"frontend": opened.frontend_id, "features": features, "prompt": opened.prompt}
    out = out or default_out("feat" if features else "emb", shards)
    run = StageRun("encode", out, arguments, sources=shards, force=force)
    todo = list(run.pending(joined_shards(shards)))
    if not todo:
        return
    with run.phase("wake"):
        where = pick_device(device, threads)
    budget = FailureBudget(max_failed)
    with device_lease("encode", str(where)), progress("encode", len(todo)) as bar:
        if opened.is_tts:
            encode_texts(run, todo, opened, batch_s, budget, bar, where)
            return
        with run.phase("wake"):
            kept = resident.take(opened.frontend_dir)
            frontend = (family(opened.family).frontend.load(opened.frontend_dir) if kept is None else kept).to(where)
        loaded = ahead((job, load_shard(read_joined(job[1]), frontend.sample_rate)) for job in todo)
        for (name, inputs), clips in loaded:
            with run.shard(name, inputs) as shard:
                with run.phase("run"):
                    results = list(encode_shard(clips, frontend, opened.prompt, features, batch_s, budget))
                for key, members, duration_s in results:
                    shard.write(key, members)
                    shard.audio_s += duration_s
                shard.figures["policy_path"] = os.path.relpath(policy, out)
            bar.advance()
        resident.sleep([frontend])
        resident.keep(frontend, opened.frontend_dir)


class FailureBudget:
    """Counts bad samples, one stderr line each; ArlError once there are more than `allowed`."""

    def __init__(self, allowed: int) -> None:
        self.allowed, self.count = allowed, 0

    def spend(self, message: str) -> None:
        from arl.console import warn
        from arl.errors import ArlError

        self.count += 1
        if self.count > self.allowed:
            raise ArlError(f"{message} (--max-failed {self.allowed} samples may fail)")
        warn(f"skipped: {message}")


@dataclass(frozen=True)
class Clip:
    """One utterance's samples [n] at the frontend's rate, or why there are none, and where it is."""

    key: str
    where: str
    wave: Any = None
    error: str = ""


def load_shard(samples: "Iterable[Sample]", sample_rate: int) -> list[Clip]:
    """The decoded audio of a shard: work for the CPU, done ahead of the device's."""
    from arl.audio.io import load as load_audio
    from arl.errors import ArlError
    from arl.shards import columns

    clips = []
    for sample in samples:
        audio = next((sample.members[ext] for ext in columns.AUDIO if ext in sample.members), None)
        try:
            if audio is None:
                raise ArlError("no audio member (.wav, .flac or .mp3); these are not audio shards")
            clips.append(Clip(sample.key, sample.where, load_audio(audio, sample_rate)))
        except ArlError as error:
            clips.append(Clip(sample.key, sample.where, error=str(error)))
    return clips


def encode_shard(
    clips: Sequence[Clip], frontend: Any, prompt: list[int], features: bool, batch_s: float, budget: FailureBudget
) -> Iterator[tuple[str, dict[str, bytes], float]]:
    """Yields (key, members, seconds) in the clips' order; batches are formed over the shard by length."""
    from arl.shards import columns

    for clip in clips:
        if clip.error:
            budget.spend(f"{clip.where}: {clip.error}")
    waves = {clip.key: clip.wave for clip in clips if not clip.error}
    encoded: dict[str, Any] = {}
    for batch in length_buckets({key: len(wave) / frontend.sample_rate for key, wave in waves.items()}, batch_s):
        outputs = frontend.features([waves[key] for key in batch])
        if not features:
            outputs = frontend.project(outputs)
        encoded.update(zip(batch, outputs, strict=True))
    for clip in clips:
        if clip.error:
            yield clip.key, {columns.PROMPT: columns.dumps({"input_ids": [], "error": clip.error})}, 0.0
        else:
            yield clip.key, members_of(encoded[clip.key], prompt, features), len(clip.wave) / frontend.sample_rate


def members_of(output: Any, prompt: list[int], features: bool) -> dict[str, bytes]:
    """The members of an encoded utterance."""
    from arl.shards import columns

    member, name = (columns.FEAT, "feat") if features else (columns.EMB, columns.EMB_TENSOR)
    return {member: columns.save_tensor(name, output), columns.PROMPT: columns.dumps({"input_ids": prompt})}


def failed_to_encode(sample: "Sample") -> bool:
    """Whether this row of an embedding shard stands for an utterance that could not be read: no embeddings."""
    from arl.shards import columns

    return columns.EMB not in sample.members and "error" in sample.json(columns.PROMPT)


def length_buckets(seconds: dict[str, float], batch_s: float) -> Iterator[list[str]]:
    """Keys of similar length, at most `batch_s` seconds a batch with padding counted; a longer clip goes alone."""
    batch: list[str] = []
    for key in sorted(seconds, key=lambda k: (seconds[k], k)):
        if batch and seconds[key] * (len(batch) + 1) > batch_s:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch
