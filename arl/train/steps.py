"""The optimizer steps of one `arl update`: which batches in which order, read from shards, given to the learner.

    for index, metrics in steps(learner, job, step_order(job.batches, epochs=1, seed=0), done=0): ...

Rollouts are all read before the first step, transcripts each when their step comes. Left out: what a run is, and its
folders (run.py).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arl.engine.predictor import FrameHistory
from arl.losses.acoustic import Codebook
from arl.losses.importance import Correction
from arl.losses.micro_batch import Loss
from arl.losses.registry import find_loss, make_loss
from arl.losses.settings import ImportanceKind
from arl.losses.spec import AcousticInputs
from arl.policy import Policy, load_tokenizer
from arl.runtime.ahead import ahead
from arl.shards.reader import Sample, read_joined
from arl.train.data import Batch, Reference, recordings, rl_batch, sft_batch, speech_batch, transcripts
from arl.train.job import BatchShards, UpdateJob
from arl.train.learner import Learner
from arl.train.lora import start_llm

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def step_order(batches: Sequence[BatchShards], epochs: int, seed: int, shuffle: bool = False) -> list[BatchShards]:
    """The batch of every optimizer step: shuffled by the seed in each epoch, the first one only with `shuffle`."""
    order: list[BatchShards] = []
    for epoch in range(epochs):
        again = list(batches)
        if epoch or shuffle:
            random.Random(f"{seed}/{epoch}").shuffle(again)
        order += again
    return order


def samples_of(shards: Sequence[Sequence[Path]]) -> Iterator[Sample]:
    """The joined samples of a batch's shards, one shard after the other."""
    return chain.from_iterable(map(read_joined, shards))


def steps(
    learner: Learner, job: UpdateJob, schedule: Sequence[BatchShards], done: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Makes each optimizer step from the `done`-th on and yields (its index, its metrics)."""
    loss = load_loss(job, next(learner.model.parameters()).device)
    make = sft_steps if find_loss(job.settings.loss).trains_on == "transcripts" else policy_steps
    return make(learner, job, loss, schedule, done)


def sft_steps(
    learner: Learner, job: UpdateJob, loss: Loss, schedule: Sequence[BatchShards], done: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Teacher forcing: each shard is read when its step comes."""
    tokenizer = load_tokenizer(job.start.llm_dir)
    kind = job.start.fields.get("text", "plain")

    def read(shards: BatchShards) -> Batch:
        samples = samples_of(shards[1])
        if job.start.is_tts:
            batch = speech_batch(samples, job.start.acoustic, job.start.eos_token_id, job.start.has_clips)
        else:
            batch = sft_batch(samples, tokenizer, job.start.eos_token_id, kind, job.settings.train_projector)
        return learner.known(batch)

    for index, batch in enumerate(ahead(map(read, schedule[done:])), done):
        yield index, batch.metrics | learner.sft_step(batch, loss)


def policy_steps(
    learner: Learner, job: UpdateJob, loss: Loss, schedule: Sequence[BatchShards], done: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rollouts: all batches are read first, and checked, as their old log-probabilities are those of the start."""
    settings = job.settings
    kind: ImportanceKind = "mask" if settings.importance == "mask" else "truncate"
    correction = Correction(kind, settings.importance_floor, settings.importance_cap, settings.importance_level)
    reference = reference_of(job) if settings.ce else None
    batches = {name: learner.known(read_batch(job, shards, reference)) for name, shards in job.batches}
    difference = learner.check(next(iter(batches.values())))
    old = old_log_probs(learner, job, batches, done) if len(schedule) > 1 else {}
    for index in range(done, len(schedule)):
        name = schedule[index][0]
        metrics = learner.policy_step(batches[name], loss, old.get(name), correction, settings.ce)
        yield index, batches[name].metrics | metrics | {"self_check": difference}


def load_loss(job: UpdateJob, where: "torch.device") -> Loss:
    """The loss, with its heads on the device where it has some."""
    if not job.settings.acoustic:
        return make_loss(job.settings)
    codebook = Codebook(*job.start.acoustic, tuple(job.start.end_ids))
    return make_loss(job.settings, AcousticInputs([spec.load(where) for spec in job.heads], codebook))


def reference_of(job: UpdateJob) -> Reference:
    """What supervised training would have each sample say, for --ce."""
    start = job.start
    if start.is_tts:
        return recordings(start.acoustic, start.eos_token_id)
    return transcripts(load_tokenizer(start.llm_dir), start.eos_token_id, start.fields.get("text", "plain"))


def read_batch(job: UpdateJob, shards: Sequence[Sequence[Path]], reference: Reference | None = None) -> Batch:
    """A batch of rollouts with what the settings want of it."""
    settings = job.settings
    return rl_batch(
        samples_of(shards), job.start.version, settings.allow_stale,
        correct=settings.importance != "none",
        risk=settings.risk if find_loss(settings.loss).has_errors else "",
        gather=settings.gather,
        with_clips=job.start.has_clips,
        with_text=settings.acoustic is not None,
        reference=reference,
        history=history_of(job.start),
    )  # fmt: skip


def history_of(policy: Policy) -> FrameHistory | None:
    """Of a policy whose frames have other codes."""
    return None if policy.predictor_dir is None else FrameHistory.open(policy.predictor_dir)


def old_log_probs(
    learner: Learner, job: UpdateJob, batches: Mapping[str, Batch], done: int
) -> "dict[str, dict[str, Tensor]]":
    """By batch and key, the log-probabilities under the weights of the start, also where a checkpoint is resumed."""
    model, world = learner.model, learner.world
    if done:
        device = next(learner.model.parameters()).device
        model = world.spread(start_llm(job.start, world.loading_device(device)).requires_grad_(False))
    return {name: learner.old_log_probs(batch, model) for name, batch in batches.items()}
