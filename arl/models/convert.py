"""Checkpoints → policies and back: what `arl init` and `arl export` do."""

from pathlib import Path

from arl.errors import ArlError, UsageError
from arl.models import Dtype, InitOptions, copy_llm, family_of, recognised
from arl.models.checkpoint import Checkpoint
from arl.policy import MARKER, Policy, refuse_other
from arl.runtime.console import note
from arl.runtime.device import quiet_transformers
from arl.shards.durable import refuse_inputs, refuse_unwritable


def init_policy(source: str, out: Path, options: InitOptions) -> Policy:
    """A policy from a checkpoint's folder or name, or from a slim policy. ArlError for what no family takes."""
    quiet_transformers()
    refuse_inputs(out, [place for place in (source, options.llm) if place and Path(place).exists()])
    refuse_other(out)
    refuse_unwritable(out)
    if (Path(source) / MARKER).is_file():
        if options.llm is not None or options.stack is not None or options.asks:
            raise UsageError(f"{source}: a slim policy has its own LLM, projector and prompt: leave out --llm, --stack "
                             "and the flags of the prompt")  # fmt: skip
        slim = Policy.open(source)
        policy = family_of(slim, "slim").restore(slim, out)
    else:
        checkpoint = Checkpoint(source)
        policy = recognised(checkpoint).build(checkpoint, out, options)
    note(f"init: {out}: policy {policy.version}, frontend {policy.frontend_id}")
    return policy


def export_policy(source: Path, out: Path, slim: bool, dtype: Dtype, llm_only: bool = False) -> None:
    """Writes a policy as its family's checkpoint, its LLM alone as a plain one, or its slim form in `dtype`."""
    policy = Policy.open(source)
    refuse_inputs(out, [source])
    refuse_unwritable(out)
    policy.verify()
    if slim:
        family = family_of(policy, "slim")
        quiet_transformers()
        family.export_slim(policy, out, dtype)
    elif out.exists():
        raise ArlError(f"{out}: exists; give another folder")
    elif llm_only:
        copy_llm(policy, out)
    else:
        family_of(policy).export(policy, out)
    note(f"export: {out}")
