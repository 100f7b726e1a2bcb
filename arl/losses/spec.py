"""What a loss's file states as `LOSS`: how it is made, what it trains on, which flags mean nothing to it.

    LOSS = LossSpec(Gspo)                                          # a dataclass whose fields are named as the flags
    LOSS = LossSpec(Mwer, refuses={"importance": NO_IMPORTANCE})   # a flag that would be ignored is refused

Left out: how a loss is found by its name (registry.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from arl.losses.acoustic import Codebook
from arl.losses.heads import WeightedHead
from arl.losses.micro_batch import Loss
from arl.losses.settings import LossSettings

TrainsOn = Literal["rollouts", "acoustic rollouts", "transcripts"]
NO_IMPORTANCE = "has no use for importance weights"
CLIP = 0.2  # ε of eq. 3 of arXiv 2509.18569


@dataclass(frozen=True)
class AcousticInputs:
    """What a loss on acoustic tokens is made of beside its settings: the heads, loaded, and the policy's codebook."""

    heads: Sequence[WeightedHead]
    codebook: Codebook


@dataclass(frozen=True)
class LossSpec:
    """kind: the loss's class, a dataclass whose defaults of `clip_low` and `clip_high` are the loss's own.
    make: how it is made; default: from the settings that `kind` has fields for.
    trains_on: what the shards hold. Supervised losses train on transcripts; those on acoustic rollouts have a `make`.
    has_errors: its micro-batches have `errors`, which --risk chooses.
    has_base: --base names the loss that it adds to, whose clips are its own.
    refuses: by setting, why a value other than the default is a usage error; after "--flag VALUE: --loss NAME".
    """

    kind: type
    make: Callable[[LossSettings, AcousticInputs], Loss] | None = None
    trains_on: TrainsOn = "rollouts"
    has_errors: bool = False
    has_base: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)


def from_settings(kind: type, settings: LossSettings) -> Any:
    """A loss's class with the settings that it has fields for; one that is None keeps the class's default."""
    known = {one.name for one in fields(kind)} & {one.name for one in fields(settings)}
    given = {name: getattr(settings, name) for name in known}
    return kind(**{name: value for name, value in given.items() if value is not None})
