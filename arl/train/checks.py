"""What `arl update` refuses before it looks at a shard: flags that contradict each other or would be ignored.

Left out: what only the shards tell, such as rollouts of another policy.
"""

from collections.abc import Sequence
from pathlib import Path

from arl.errors import ArlError, UsageError
from arl.losses.heads import HeadSpec, parse_head
from arl.losses.registry import find_loss, losses_on
from arl.policy import Policy
from arl.train.lora_checks import base_reference, check_adapter
from arl.train.settings import UpdateSettings

DEFAULTS = UpdateSettings()


def check_settings(settings: UpdateSettings, policy: Policy) -> None:
    """UsageError for the first flag that means nothing with the others or with this policy."""
    check_supervised(settings, policy)
    check_refused(settings)
    check_bounds(settings)
    check_adapter(settings, policy)


def check_supervised(settings: UpdateSettings, policy: Policy) -> None:
    """UsageError where the flags of supervised training would be ignored, or cannot work."""
    is_supervised = find_loss(settings.loss).trains_on == "transcripts"
    if not is_supervised and (settings.train_projector or settings.ctc):
        raise UsageError(f"--train-projector and --ctc belong to --loss {' and '.join(losses_on('transcripts'))}: "
                         "the frontend is frozen otherwise")  # fmt: skip
    if policy.predictor_dir is not None and (is_supervised or settings.ce):
        raise UsageError(f"--loss {settings.loss}{' --ce' if settings.ce else ''}: {policy.path} has several codes a "
                         "frame, and arl makes none of a recording: train it on rollouts alone")  # fmt: skip
    if is_supervised and policy.fields.get("says_words"):
        raise UsageError(f"--loss {settings.loss}: responses of {policy.path} have words between the codes, which a "
                         "recording has not: train it on rollouts")  # fmt: skip
    if settings.token_dropout and not is_supervised:
        raise UsageError(f"--token-dropout belongs to --loss {' and '.join(losses_on('transcripts'))}: tokens of a "
                         "rollout are read as they were sampled")  # fmt: skip
    if settings.ctc and not settings.train_projector:
        raise UsageError("--ctc trains the projector: give --train-projector and feature shards")
    if settings.ctc and policy.fields.get("text") != "characters":
        raise UsageError(f"--ctc needs a policy over characters; {policy.path} has its LLM's own vocabulary")


def check_refused(settings: UpdateSettings) -> None:
    """UsageError for a flag that the loss's own file refuses (`LossSpec.refuses`)."""
    for name, why in find_loss(settings.loss).refuses.items():
        value = getattr(settings, name)
        if value != getattr(DEFAULTS, name):
            raise UsageError(f"--{name.replace('_', '-')} {value}: --loss {settings.loss} {why}")


def check_bounds(settings: UpdateSettings) -> None:
    """UsageError for numbers that a loss cannot work with."""
    if 0 < settings.clip_dual <= 1:
        raise UsageError(f"--clip-dual {settings.clip_dual:g}: above 1, 3 for instance, or 0 for none")
    if settings.importance == "mask" and settings.importance_floor > settings.importance_cap:
        raise UsageError("--importance-floor is above --importance-cap: every weight would be masked")


def reference_policy(policy: Policy, reference: Path | None, settings: UpdateSettings = DEFAULTS) -> Policy:
    """The policy that the KL is measured against: with an adapter, its base. UsageError where it is not given and
    cannot be guessed, and where it is no base."""
    if settings.lora_rank or policy.adapter_dir:
        return base_reference(policy, reference)
    if reference is None and policy.step > 0:
        raise UsageError(f"--policy {policy.path} is at step {policy.step}: give --reference START, or --beta 0")
    return Policy.open(reference) if reference else policy


def acoustic_heads(
    settings: UpdateSettings, policy: Policy, token_asr: HeadSpec | None, heads: Sequence[str]
) -> list[HeadSpec]:
    """What a loss on acoustic tokens maximises; [] for another loss. heads: as `--head` has them.

    UsageError where there is none, or where another loss is given some; ArlError for a head that reads another number
    of codes than the policy speaks.
    """
    loss = settings.loss
    if find_loss(loss).trains_on != "acoustic rollouts":
        if token_asr or heads:
            belong = " and ".join(losses_on("acoustic rollouts"))
            raise UsageError(f"--token-asr and --head belong to --loss {belong}")
        return []
    if not policy.is_tts:
        raise UsageError(f"--loss {loss} trains speech synthesis: {policy.path} has no acoustic tokens")
    specs = [*([token_asr] if token_asr else []), *map(parse_head, heads)]
    if not specs:
        raise UsageError(
            f"--loss {loss} needs --token-asr DIR (`arl train-token-asr` makes it) or --head FILE.py:CLASS"
        )
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise UsageError(f"--head: two have the same name among {', '.join(names)}")
    for spec in specs:
        check_codes(spec, policy)
    if settings.acoustic and not settings.acoustic.tau > 0:
        raise UsageError(f"--tau {settings.acoustic.tau:g}: above 0")
    return specs


def check_codes(spec: HeadSpec, policy: Policy) -> None:
    found, wanted = spec.n_codes, policy.acoustic[1]
    if found is not None and found != wanted:
        raise ArlError(f"{spec.path}: a recogniser of {found} codes, but {policy.path} speaks {wanted}: "
                       "train one on this policy's codes")  # fmt: skip
