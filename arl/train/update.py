"""`arl update` as one call: the flags are checked, then the job is trained, unless its result is there already.

    update_policy(UpdateSettings(loss="dapo"), ["emb", "rollout", "reward"], Path("policy"), out=Path("next"))

Left out: the flags themselves (arl/cli/update.py), and what lies above the trainer: the command hands in the
recogniser of acoustic tokens and the loader of a family's frontend.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from arl.errors import UsageError
from arl.losses.heads import HeadSpec
from arl.losses.registry import find_loss, with_own_clips
from arl.policy import Policy, refuse_other
from arl.runtime.console import note
from arl.runtime.device import flushed_denormals
from arl.runtime.ranks import launched, n_ranks
from arl.runtime.stage import default_out
from arl.shards.durable import refuse_inputs, refuse_unwritable
from arl.shards.paths import joined_shards
from arl.train.checks import acoustic_heads, check_settings, reference_policy
from arl.train.job import LoadFrontend, UpdateJob
from arl.train.lora_checks import settings_with_adapter
from arl.train.run import train
from arl.train.settings import UpdateSettings
from arl.train.world import ALONE, World


def update_policy(
    settings: UpdateSettings,
    shards: Sequence[str],
    policy: Path | None,
    *,
    out: Path | None = None,
    reference: Path | None = None,
    token_asr: HeadSpec | None = None,
    heads: Sequence[str] = (),
    frontend_loader: Callable[[Policy], LoadFrontend] | None = None,
    device: str = "auto",
    threads: int = 0,
    save_every: int = 0,
    force: bool = False,
) -> None:
    """Makes the next policy. settings.acoustic: its `heads` are filled in, and another loss has none.

    reference: of the KL (default: the policy at step 0). heads: as `--head` has them. frontend_loader: what reads the
    frontend of a policy, whose projector is to be trained. save_every: steps between checkpoints; 0: none. force: also
    where `out` already is the result. UsageError and ArlError as arl/train/checks.py says, and where another process of
    torchrun was lost.
    """
    with joined(device, threads) as world:
        job = make_job(settings, shards, policy, out, reference, token_asr, heads, frontend_loader)
        if not force and job.is_done():
            note(f"update: {job.out} is already made from these inputs (-f redoes it)")
        else:
            with flushed_denormals():
                train(job, device, threads, save_every, world)


@contextmanager
def joined(device: str, threads: int) -> Iterator[World]:
    """The processes that make this update, until the block ends: this one, unless torchrun has started it among others.
    ArlError where another one was lost; what one of them raises ends all, and one says it. UsageError for processes
    that nothing has joined."""
    if n_ranks() == 1:
        if launched()[1] > 1:
            raise UsageError(f"srun has started {launched()[1]} processes, each of which would make the whole policy; "
                             "those that share one are torchrun's: srun --ntasks-per-node 1 torchrun …")  # fmt: skip
        yield ALONE
        return
    from arl.train.parallel import joined_ranks

    with joined_ranks(device, threads) as world:
        yield world


def make_job(
    settings: UpdateSettings, shards: Sequence[str], policy: Path | None, out: Path | None, reference: Path | None,
    token_asr: HeadSpec | None, heads: Sequence[str], frontend_loader: Callable[[Policy], LoadFrontend] | None,
) -> UpdateJob:  # fmt: skip
    """What is asked for, checked: as `update_policy`."""
    if policy is None:
        raise UsageError("arl update needs --policy (or ARL_POLICY)")
    start = Policy.open(policy)
    check_settings(settings, start)
    specs = acoustic_heads(settings, start, token_asr, heads)
    target, pairs = out or default_out("update", shards), joined_shards(shards)
    read = [path for _, paths in pairs for path in paths]
    refuse_inputs(target, [start.path, *([reference] if reference else []), *read])
    refuse_other(target)
    refuse_unwritable(target)
    return UpdateJob(
        start=start,
        reference=reference_policy(start, reference, settings) if needs_reference(settings) else None,
        shards=pairs,
        out=target,
        settings=resolved(settings_with_adapter(settings, start), specs),
        heads=specs,
        load_frontend=frontend_loader(start) if frontend_loader and settings.train_projector else None,
        run_start=run_start(start, reference),
    )


def run_start(start: Policy, reference: Path | None) -> int | None:
    """The step at which the run began: that of the reference, a run's frozen starting policy. None where it is not
    given, or is of another life than `start`."""
    step = Policy.open(reference).step if reference else start.step if start.step == 0 else None
    return step if step is not None and step <= start.step else None


def needs_reference(settings: UpdateSettings) -> bool:
    """Whether the loss has a KL to a reference policy."""
    return settings.beta > 0 and find_loss(settings.loss).trains_on != "transcripts"


def resolved(settings: UpdateSettings, heads: Sequence[HeadSpec]) -> UpdateSettings:
    """The settings as they are recorded: with the loss's own clips, and with the heads where it has some."""
    settings = with_own_clips(settings)
    if settings.acoustic is None or not heads:
        return replace(settings, acoustic=None)
    return replace(settings, acoustic=replace(settings.acoustic, heads=tuple(spec.fingerprint() for spec in heads)))
