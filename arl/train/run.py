"""One `arl update`: from a policy folder and shards to the next policy folder.

One shard is one batch and one optimizer step; with `gather` all shards are one batch. A run writes nothing but its
checkpoint until the next policy is whole; killed, it goes on from the checkpoint and ends with the same bits. Left
out: what is refused beforehand (checks.py), the steps themselves (steps.py).

    job = UpdateJob(Policy.open("policy"), None, joined_shards(["feat", "data"]), Path("next"), settings)
    train(job, "cpu", threads=1)
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arl.engine.session import hold_device
from arl.errors import UsageError
from arl.losses.registry import find_loss
from arl.policy import FRONTEND, Policy, remove_stale
from arl.runtime.console import note, progress, warn
from arl.runtime.model_cache import MODEL_CACHE
from arl.runtime.stage import Phases, device_peak, peak_memory_mb
from arl.shards.record import StageRecord
from arl.train import load
from arl.train.checkpoint import has_state, read_counts
from arl.train.job import UpdateJob, is_current
from arl.train.learner import Learner
from arl.train.lora import LoraSpec, adapted_llm
from arl.train.schedule import Schedule
from arl.train.settings import UpdateSettings
from arl.train.step import Compute
from arl.train.steps import step_order, steps
from arl.train.world import ALONE, World

if TYPE_CHECKING:
    import torch


def train(job: UpdateJob, device: str, threads: int, save_every: int = 0, world: World = ALONE) -> Policy:
    """Makes the steps and writes the next policy; with `save_every`, resumes a killed run from its last checkpoint.

    world: the processes that make it together, each with a device of its own.
    """
    phases = Phases()
    with phases.phase("wake"):
        where = world.place(device, threads)
    waiting = time.monotonic()
    with hold_device("update", str(where)) as waited_s:
        world.wait()
        phases.seconds["wake"] += time.monotonic() - waiting
        more = {"lease_waited_s": round(waited_s, 3)} | ({"ranks": world.size} if world.size > 1 else {})
        policy, metrics = train_awake(job, where, save_every, phases, more, world)
    note(f"update: {job.out}: policy {policy.version} " + brief(metrics))
    if metrics["lr"] == 0:
        warn(f"update: {job.out}: the learning rate of the last step was 0: --lr and --total-steps say so")
    return policy


def train_awake(
    job: UpdateJob, where: "torch.device", save_every: int, phases: Phases, more: dict[str, Any], world: World = ALONE
) -> tuple[Policy, dict[str, Any]]:
    """Wake, run, write and sleep, under the device lease; the next policy and the last step's metrics.

    more: for the record.
    """
    schedule = step_order(job.batches, job.settings.epochs, job.settings.seed, job.settings.shuffle)
    schedule = schedule[: job.settings.max_steps or None]
    with phases.phase("wake"):
        learner, done = make_learner(job, len(schedule), where, world)
    metrics: dict[str, Any] = {}
    with phases.phase("run"), progress("update", len(schedule)) as bar:
        bar.advance(done)
        for index, metrics in steps(learner, job, schedule, done):
            finished = index + 1
            bar.advance(1, f"loss {metrics['loss']:.4f}")
            if save_every and finished % save_every == 0 and finished < len(schedule):
                learner.save(
                    job.checkpoint, job.start.step + finished, {"made": job.fingerprint, "steps_done": finished}
                )
    if world is ALONE:  # those of torchrun end with the job, and gather what they write from where it is
        with phases.phase("sleep"):
            learner.sleep()
    writing = time.monotonic()

    def record() -> StageRecord:
        phases.seconds["write"] += time.monotonic() - writing
        return StageRecord(
            "update", job.shards[-1][0], metrics["groups"], phases.rounded(), peak_memory_mb(), job.start.version,
            job.fingerprint, job.settings.to_json(),
            figures={"steps": len(schedule), **more, **metrics, **device_peak()},
        )  # fmt: skip

    policy = learner.save(job.out, job.start.step + len(schedule), {"made": job.fingerprint}, record)
    if world.is_first:
        shutil.rmtree(job.checkpoint, ignore_errors=True)
    learner.keep(policy, job.reference)
    return policy, metrics


def brief(metrics: Mapping[str, Any]) -> str:
    """The metrics a person watches, in one line."""
    shown = ("loss", "auxiliary", "reward", "diffro_reward", "kl", "kl_codes", "entropy", "length", "grad_norm", "lr")
    return " ".join(f"{name} {metrics[name]:.4g}" for name in shown if name in metrics)


def make_learner(
    job: UpdateJob, n_steps: int, where: "torch.device", world: World = ALONE
) -> tuple[Learner, int]:  # fmt: skip
    """The learner at the start of the job, or at its checkpoint, and how many of its steps are done."""
    if world.is_first:
        verify(job.start)
        if job.reference is not None and job.reference.path != job.start.path:
            verify(job.reference)
        remove_stale(job.checkpoint)
    world.wait()
    resumed = Policy.open(job.checkpoint) if is_current(job.checkpoint, job.fingerprint) else None
    if resumed and world.is_first:
        resumed.verify()
    before = steps_before(job)
    learner = load_learner(resumed or job.start, job, where, world)
    done = resumed.fields["steps_done"] if resumed else 0
    learner.run_steps, learner.trains_on = before + done, kind_of_run(job)
    if (past := before + n_steps - job.settings.total_steps) > 0 and job.settings.total_steps and world.is_first:
        warn_of_zero_rate(job.settings, past, n_steps)
    if resumed or not job.settings.fresh_optimizer:
        learner.resume()
    MODEL_CACHE.clear()  # what this job has not popped
    if learner.schedule.kind == "cosine" and not learner.schedule.total:
        learner.schedule = replace(learner.schedule, total=n_steps)
    return learner, done


def verify(policy: Policy) -> None:
    """Hashes a policy's files, as `Policy.verify`, but for weights that the model cache holds: they were hashed when
    they were written or read, and are not read again."""
    if policy.adapter_dir is None and MODEL_CACHE.holds(policy.llm_dir):
        policy.verify_part(FRONTEND)
    else:
        policy.verify()


def warn_of_zero_rate(settings: UpdateSettings, past: int, n_steps: int) -> None:
    """Says beforehand that the cosine ends within an update: the last `past` of `n_steps` steps will change nothing."""
    if settings.schedule == "cosine":
        warn(
            f"update: --total-steps {settings.total_steps} is the step of the run at which the cosine ends, so the "
            f"last {past} of {n_steps} steps have learning rate 0: give a larger one, or --fresh-optimizer"
        )


def steps_before(job: UpdateJob) -> int:
    """The steps of the run before this job, which the schedule goes on from.

    A run goes on where its policy's state says that it trained on the same kind of data, but not to before the policy
    that it began with; a cosine over "this run's steps" is a run of its own. UsageError where the cosine has ended.
    """
    settings, folder = job.settings, job.start.state_dir
    if (
        settings.fresh_optimizer
        or not has_state(folder)
        or (settings.schedule == "cosine" and not settings.total_steps)
    ):
        return 0
    counts = read_counts(folder)
    if counts.trains_on not in ("", kind_of_run(job)):
        return 0
    steps = counts.run_steps
    if job.run_start is not None:
        steps = min(steps, job.start.step - job.run_start)
    if settings.schedule == "cosine" and steps >= settings.total_steps:
        raise UsageError(f"--total-steps {settings.total_steps}: {job.start.path} has {steps} steps of this run behind "
                         "it, so the learning rate would be 0: give a larger one, --fresh-optimizer for a new run, or "
                         "the run's first policy as --reference")  # fmt: skip
    return steps


def kind_of_run(job: UpdateJob) -> str:
    """Transcripts or rollouts: a run trains on one of them."""
    return "transcripts" if find_loss(job.settings.loss).trains_on == "transcripts" else "rollouts"


def load_learner(policy: Policy, job: UpdateJob, where: "torch.device", world: World = ALONE) -> Learner:
    """Loads the policy's LLM, the reference where the KL needs one, and the frontend where the projector is trained."""
    import torch

    settings = job.settings
    autocast = torch.bfloat16 if settings.autocast == "bfloat16" else None
    compute = Compute(
        policy.audio_token_id, settings.tokens, autocast=autocast, checkpointing=settings.checkpointing,
        compiled=settings.compile, offload=settings.offload, world=world,
    )  # fmt: skip
    loading = world.loading_device(where)
    lora = LoraSpec(settings.lora_rank, settings.lora_alpha, settings.lora_targets) if settings.lora_rank else None
    if lora is None:
        model = world.spread(load.llm(policy.llm_dir, loading).requires_grad_(True))
    else:
        model = world.spread(adapted_llm(policy, lora, settings.seed, loading))
    reference = model if job.reference and lora else None
    if job.reference and lora is None:
        kept_on = torch.device("cpu") if compute.offload else loading
        reference = world.spread(load.llm(job.reference.llm_dir, kept_on).requires_grad_(False), compute.offload)
    frontend = job.load_frontend(policy.frontend_dir).to(where) if job.load_frontend else None
    return Learner(
        policy=policy, model=model,
        compute=compute,
        schedule=Schedule(settings.lr, settings.warmup, settings.schedule, settings.total_steps),
        max_norm=settings.max_norm, weight_decay=settings.weight_decay, seed=settings.seed,
        reference=reference, frontend=frontend, ctc=settings.ctc, token_dropout=settings.token_dropout,
        lora=lora,
    )  # fmt: skip
