"""The losses of `arl update`, by name: one file each, a page beside each (README.md). Imports no torch by itself.

loss = make_loss({"loss": "gspo", "clip_low": 3e-4, "clip_high": 4e-4, "beta": 0.0, ...})
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arl.losses.heads import Weighted
    from arl.losses.part import Loss
    from arl.losses.speech import Codebook

# ε below and above 1, as each loss' paper has them
CLIPS = {"grpo": (0.2, 0.2), "dr_grpo": (0.2, 0.2), "dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4)}
ON_ROLLOUTS = (*CLIPS, "mwer")
ON_SPEECH = ("diffro", "combined")  # rollouts of a synthesis policy
NAMES = (*ON_ROLLOUTS, *ON_SPEECH, "sft")
RISKS = ("errors", "reward")  # what `mwer` minimises
GUMBELS = ("sampled", "fresh")  # the noise of `diffro`
BASES = ("grpo", "dapo")  # what `combined` adds it to


def make_loss(
    settings: Mapping[str, Any], heads: "Sequence[Weighted]" = (), codebook: "Codebook | None" = None
) -> "Loss":
    """The loss on rollouts that the settings of an update name. heads, codebook: of those ON_SPEECH."""
    if settings["loss"] in ON_SPEECH:
        return make_speech_loss(settings, heads, codebook)
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


def make_speech_loss(settings: Mapping[str, Any], heads: "Sequence[Weighted]", codebook: "Codebook | None") -> "Loss":
    from arl.losses.combined import Combined
    from arl.losses.diffro import Diffro
    from arl.losses.grpo import Grpo

    if codebook is None:
        raise ValueError(f"{settings['loss']} needs a codebook")
    diffro = Diffro(heads, codebook, settings["beta"], settings["tau"], settings["gumbel"])
    if settings["loss"] == "diffro":
        return diffro
    base = make_loss({**settings, "loss": settings["base"]})
    assert isinstance(base, Grpo)  # BASES are
    return Combined(base, diffro, settings["diffro_weight"], settings["filter"])
