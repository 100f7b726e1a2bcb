"""What `arl update` refuses of an adapter's flags, and what they are where they are not given.

A policy with an adapter is trained on by that adapter: its rank, alpha and targets are those of its first update.
"""

from dataclasses import replace
from pathlib import Path

from arl.engine.served_model import ServedModel
from arl.errors import UsageError
from arl.losses.registry import find_loss
from arl.policy import Policy
from arl.train.checkpoint import has_state
from arl.train.lora import LoraSpec
from arl.train.settings import UpdateSettings

NO_TARGETS = {
    "lm_head": "the head's logits are computed in chunks from its weight, which an adapter on it does not change",
    "embed_tokens": "an embedding is looked up, not multiplied: no adapter can be merged there for the engine",
}


def check_adapter(settings: UpdateSettings, policy: Policy) -> None:
    """UsageError for flags of an adapter that cannot work, or are not those of the policy's own."""
    given = LoraSpec(settings.lora_rank, settings.lora_alpha, settings.lora_targets)
    for target in given.targets:
        if why := next((why for name, why in NO_TARGETS.items() if target.endswith(name)), None):
            raise UsageError(f"--lora-targets {target}: {why}; leave it out")
    own = LoraSpec.of(policy)
    if own is not None:
        check_same(given, own, policy)
    elif not given.rank and (given.alpha or given.targets):
        raise UsageError("--lora-alpha and --lora-targets belong to --lora-rank")
    elif given.rank and has_state(policy.state_dir) and not settings.fresh_optimizer:
        raise UsageError(f"--lora-rank {given.rank}: the optimizer state of {policy.path} is of whole weights: "
                         "--fresh-optimizer begins an adapter on them")  # fmt: skip


def check_same(given: LoraSpec, own: LoraSpec, policy: Policy) -> None:
    """UsageError where a flag is given and is not what the policy's adapter has."""
    pairs = {
        "rank": (given.rank, own.rank), "alpha": (given.alpha, own.alpha),
        "targets": (",".join(sorted(given.targets)), ",".join(own.targets)),
    }  # fmt: skip
    for name, (asked, has) in pairs.items():
        if asked and asked != has:
            raise UsageError(f"--lora-{name} {asked}: the adapter of {policy.path} has {has}, which a run keeps: leave "
                             "it out, or begin with the base again")  # fmt: skip


def settings_with_adapter(settings: UpdateSettings, policy: Policy) -> UpdateSettings:
    """The settings as they are recorded: the adapter's flags are filled in, alpha with twice the rank.

    Where the base is of lower precision than float32, rollouts that are new get importance weights too, truncated: the
    engine may have served the merged weights, which are rounded once more than what is trained.
    """
    own = LoraSpec.of(policy)
    if own is not None:
        settings = replace(settings, lora_rank=own.rank, lora_alpha=own.alpha, lora_targets=own.targets)
    if not settings.lora_rank:
        return settings
    settings = replace(settings, lora_alpha=settings.lora_alpha or 2 * settings.lora_rank)
    spec = find_loss(settings.loss)
    is_corrected = spec.trains_on != "transcripts" and "importance" not in spec.refuses
    if is_corrected and settings.importance == "none" and ServedModel.of(policy).dtype != "float32":
        settings = replace(settings, importance="truncate")
    return settings


def base_reference(policy: Policy, reference: Path | None) -> Policy:
    """The policy whose base the KL is measured against: the given one, or the trained one. UsageError for a reference
    of other weights than the adapter's base."""
    if reference is None:
        return policy
    given = Policy.open(reference)
    if given.adapter_dir is not None or given.version[-12:] != policy.base_version[-12:]:
        raise UsageError(f"--reference {reference}: with an adapter the reference is its base, {policy.base_version}, "
                         "which is in memory already: leave it out, or --beta 0")  # fmt: skip
    return given
