"""Checkpoints → policies and back: what `arl init` and `arl export` do."""

from pathlib import Path

from arl.errors import ArlError, UsageError
from arl.models import Dtype, InitOptions, copy_llm, family_of, recognised
from arl.models.checkpoint import Checkpoint
from arl.models.merged import export_adapter, merged_policy
from arl.policy import MARKER, Policy, refuse_other
from arl.runtime.console import note
from arl.runtime.device import quiet_transformers
from arl.shards.durable import refuse_inputs, refuse_unwritable


def init_policy(source: str, out: Path, options: InitOptions) -> Policy:
    """A policy from a checkpoint's folder or name, or from a slim policy. ArlError for what no family takes."""
    quiet_transformers()
    refuse_inputs(out, [place for place in (source, options.llm, options.codec) if place and Path(place).exists()])
    refuse_other(out)
    refuse_unwritable(out)
    if options.subwords and not (options.llm or "").startswith("new:"):
        raise UsageError("--subwords is the vocabulary of a fresh LLM: give --llm new:WIDTHxLAYERS with it")
    if (Path(source) / MARKER).is_file():
        if options.llm is not None or options.stack is not None or options.asks or options.voices or options.codec:
            raise UsageError(f"{source}: a slim policy has its own LLM, projector and prompt: leave out --llm, --stack "
                             "and the flags of the prompt")  # fmt: skip
        slim = Policy.open(source)
        if slim.adapter_dir is not None:
            raise ArlError(f"{source}: a policy with an adapter is no slim one: `arl export --merge --slim` makes one")
        policy = family_of(slim, "slim").restore(slim, out)
    else:
        checkpoint = Checkpoint(source)
        family = recognised(checkpoint)
        if options.voices and not family.takes_voices:
            raise UsageError(f"{source}: family {family.name} has no place for --voice")
        if options.codec is not None and not family.takes_codec:
            raise UsageError(f"{source}: family {family.name} has no place for --codec")
        policy = family.build(checkpoint, out, options)
    note(f"init: {out}: policy {policy.version}, frontend {policy.frontend_id}")
    return policy


def export_policy(
    source: Path, out: Path, slim: bool, dtype: Dtype, llm_only: bool = False, merge: bool = False
) -> None:
    """Writes a policy as its family's checkpoint, its LLM alone as a plain one, or its slim form in `dtype`.

    A policy with an adapter: the adapter alone in peft's format, or with `merge` any of these.
    """
    policy = Policy.open(source)
    refuse_inputs(out, [source])
    refuse_unwritable(out)
    refuse_merge(policy, merge, slim or llm_only)
    if out.exists() and not slim:
        raise ArlError(f"{out}: exists; give another folder")
    policy.verify()
    if merge:
        with merged_policy(policy, out) as whole:
            export_whole(whole, out, slim, dtype, llm_only)
    elif policy.adapter_dir is not None:
        export_adapter(policy, out)
    else:
        export_whole(policy, out, slim, dtype, llm_only)
    note(f"export: {out}")


def refuse_merge(policy: Policy, merge: bool, wants_llm: bool) -> None:
    """UsageError where there is nothing to merge, or where what is wanted has no place for an adapter."""
    if merge and policy.adapter_dir is None:
        raise UsageError(f"--merge: {policy.path} has no adapter; leave it out")
    if wants_llm and policy.adapter_dir is not None and not merge:
        raise UsageError(f"{policy.path} is an adapter on llm/: --slim and --llm-only need --merge; without all three, "
                         "the adapter is written alone")  # fmt: skip


def export_whole(policy: Policy, out: Path, slim: bool, dtype: Dtype, llm_only: bool) -> None:
    """Writes a policy without an adapter."""
    if slim:
        family = family_of(policy, "slim")
        quiet_transformers()
        family.export_slim(policy, out, dtype)
    elif llm_only:
        copy_llm(policy, out)
    else:
        family_of(policy).export(policy, out)
