"""The losses of `arl update`, by name: one file each, a page beside each (README.md). Imports no torch by itself.

loss = make_loss({"loss": "gspo", "clip_low": 3e-4, "clip_high": 4e-4, "beta": 0.0, ...})
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arl.losses.part import Loss

# ε below and above 1, as each loss' paper has them
CLIPS = {"grpo": (0.2, 0.2), "dr_grpo": (0.2, 0.2), "dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4)}
ON_ROLLOUTS = (*CLIPS, "mwer")
NAMES = (*ON_ROLLOUTS, "sft")
RISKS = ("errors", "reward")  # what `mwer` minimises


def make_loss(settings: Mapping[str, Any]) -> "Loss":
    """The loss on rollouts that the settings of an update name."""
    from arl.losses.dapo import Dapo
    from arl.losses.dr_grpo import DrGrpo
    from arl.losses.grpo import Grpo
    from arl.losses.gspo import Gspo
    from arl.losses.mwer import Mwer

    name = settings["loss"]
    kl = {key: settings[key] for key in ("beta", "kl", "kl_ratio")}
    if name == "mwer":
        return Mwer(**kl)
    kinds: dict[str, type[Grpo]] = {"grpo": Grpo, "dr_grpo": DrGrpo, "dapo": Dapo, "gspo": Gspo}
    own = {"divisor": settings["divisor"]} if name == "dr_grpo" else {}
    clips = {key: settings[key] for key in ("clip_low", "clip_high", "clip_dual")}
    return kinds[name](**clips, **kl, **own)
