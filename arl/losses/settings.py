"""What a loss is told: the flags of `arl update` that change what is minimised. Imports no torch.

    LossSettings(loss="dapo", beta=0.0, clip_high=0.3)

Left out: what the trainer alone is told (arl/train/settings.py).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from arl.losses import NAMES

if TYPE_CHECKING:
    LossName: TypeAlias = str
else:
    LossName = Literal[*NAMES]
KlEstimator = Literal["k1", "k2", "k3"]
Risk = Literal["errors", "reward"]  # what `mwer` minimises
MwerForm = Literal["list", "samples"]
ErrorUnit = Literal["std", "count"]
ImportanceKind = Literal["none", "truncate", "mask"]
ImportanceLevel = Literal["token", "sequence"]
GumbelNoise = Literal["sampled", "fresh"]
Base = Literal["grpo", "dapo"]  # what `combined` adds DiffRO to


@dataclass(frozen=True)
class AcousticSettings:
    """Those of a loss on acoustic tokens only. heads: fingerprints of what it maximises. filter: only hypotheses with
    A > 0 have a part in DiffRO's reward."""

    heads: tuple[Any, ...] = ()
    gumbel: GumbelNoise = "sampled"
    tau: float = 1.0
    base: Base = "grpo"
    diffro_weight: float = 1.0
    filter: bool = True


@dataclass(frozen=True)
class LossSettings:
    """The fields are named as the flags. clip_low, clip_high: None for the loss's own. ce: λ of the transcripts'
    cross-entropy beside a loss on rollouts. acoustic: None where the loss does not train on acoustic tokens."""

    loss: LossName = "grpo"
    beta: float = 0.1
    kl: KlEstimator = "k3"
    kl_ratio: bool = False
    clip_low: float | None = None
    clip_high: float | None = None
    clip_dual: float = 0.0
    divisor: float = 256.0
    risk: Risk = "errors"
    mwer_form: MwerForm = "list"
    mwer_scale: float = 0.0
    mwer_errors: ErrorUnit = "std"
    ce: float = 0.0
    importance: ImportanceKind = "none"
    importance_cap: float = 2.0
    importance_floor: float = 0.5
    importance_level: ImportanceLevel = "token"
    acoustic: AcousticSettings | None = None
