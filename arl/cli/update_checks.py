"""What `arl update` refuses before it looks at a shard: unknown words, and flags that contradict or would be ignored.

Left out: what only the shards tell, such as rollouts of another policy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arl.errors import UsageError
from arl.losses import BASES, GUMBELS, NAMES, ON_SPEECH, RISKS
from arl.policy import Policy

if TYPE_CHECKING:
    from arl.losses.heads import HeadSpec

CHOICES = {
    "--loss": NAMES,
    "--kl": ("k1", "k2", "k3"),
    "--risk": RISKS,
    "--gumbel": GUMBELS,
    "--base": BASES,
    "--importance": ("none", "truncate", "mask"),
    "--importance-level": ("token", "sequence"),
    "--schedule": ("constant", "cosine"),
    "--autocast": ("none", "bfloat16"),
}


def check_choices(given: Mapping[str, str]) -> None:
    """UsageError for a word that a flag does not know."""
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise UsageError(f"{name} {value}: one of {', '.join(CHOICES[name])}")


def check_supervised(loss: str, train_projector: bool, ctc: float, policy: Policy) -> None:
    """UsageError where the flags of supervised training would be ignored, or cannot work."""
    if loss != "sft" and (train_projector or ctc):
        raise UsageError("--train-projector and --ctc belong to --loss sft: the frontend is frozen otherwise")
    if ctc and not train_projector:
        raise UsageError("--ctc trains the projector: give --train-projector and feature shards")
    if ctc and policy.fields.get("text") != "characters":
        raise UsageError(f"--ctc needs a policy over characters; {policy.path} has its LLM's own vocabulary")


def check_reinforced(settings: Mapping[str, Any]) -> None:
    """UsageError where the flags of reinforcement learning would be ignored, or contradict each other."""
    loss, importance = settings["loss"], settings["importance"]
    if loss == "sft" and settings["gather"]:
        raise UsageError("--gather chooses rollouts by the spread of their rewards: --loss sft has none")
    if loss in ("mwer", "sft", "diffro") and importance != "none":
        raise UsageError(f"--importance {importance}: --loss {loss} has no use for importance weights")
    if 0 < settings["clip_dual"] <= 1:
        raise UsageError(f"--clip-dual {settings['clip_dual']:g}: above 1, 3 for instance, or 0 for none")
    if importance == "mask" and settings["importance_floor"] > settings["importance_cap"]:
        raise UsageError("--importance-floor is above --importance-cap: every weight would be masked")


def reference_policy(policy: Policy, reference: Path | None) -> Policy:
    """The policy that the KL is measured against. UsageError where it is not given and cannot be guessed."""
    if reference is None and policy.step > 0:
        raise UsageError(f"--policy {policy.path} is at step {policy.step}: give --reference START, or --beta 0")
    return Policy.open(reference) if reference else policy


def speech_heads(loss: str, policy: Policy, token_asr: Path | None, heads: Sequence[str]) -> "list[HeadSpec]":
    """What a loss on acoustic tokens maximises. UsageError where it is missing, or given to another loss; ArlError for
    a recogniser of other codes than the policy's."""
    from arl.losses.heads import parse_head
    from arl.models.token_asr.head import TokenAsrHead

    if loss not in ON_SPEECH:
        if token_asr or heads:
            raise UsageError("--token-asr and --head belong to --loss diffro and combined")
        return []
    if not policy.is_tts:
        raise UsageError(f"--loss {loss} trains speech synthesis: {policy.path} has no acoustic tokens")
    known = TokenAsrHead(token_asr) if token_asr else None
    specs: list[HeadSpec] = [known] if known else []
    specs += [parse_head(text) for text in heads]
    if not specs:
        raise UsageError(
            f"--loss {loss} needs --token-asr DIR (`arl train-token-asr` makes it) or --head FILE.py:CLASS"
        )
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise UsageError(f"--head: two have the same name among {', '.join(names)}")
    if known:
        known.check(policy)
    return specs


def check_speech(settings: Mapping[str, Any]) -> None:
    """UsageError for values that a loss on acoustic tokens cannot work with."""
    if not settings["tau"] > 0:
        raise UsageError(f"--tau {settings['tau']:g}: above 0")
