"""A loss by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from arl.losses import ON_SPEECH
from arl.losses.acoustic import Codebook
from arl.losses.combined import Combined
from arl.losses.dapo import Dapo
from arl.losses.diffro import Diffro
from arl.losses.dr_grpo import DrGrpo
from arl.losses.grpo import Grpo
from arl.losses.gspo import Gspo
from arl.losses.heads import Weighted
from arl.losses.micro_batch import Loss
from arl.losses.mwer import Mwer


def make_loss(settings: Mapping[str, Any], heads: Sequence[Weighted] = (), codebook: Codebook | None = None) -> Loss:
    """The loss on rollouts that the settings of an update name. heads, codebook: of those ON_SPEECH."""
    if settings["loss"] in ON_SPEECH:
        return make_speech_loss(settings, heads, codebook)

    name = settings["loss"]
    kl = {key: settings[key] for key in ("beta", "kl", "kl_ratio")}
    if name == "mwer":
        return Mwer(**kl)
    kinds: dict[str, type[Grpo]] = {"grpo": Grpo, "dr_grpo": DrGrpo, "dapo": Dapo, "gspo": Gspo}
    own = {"divisor": settings["divisor"]} if name == "dr_grpo" else {}
    clips = {key: settings[key] for key in ("clip_low", "clip_high", "clip_dual")}
    return kinds[name](**clips, **kl, **own)


def make_speech_loss(settings: Mapping[str, Any], heads: Sequence[Weighted], codebook: Codebook | None) -> Loss:
    if codebook is None:
        raise ValueError(f"{settings['loss']} needs a codebook")
    diffro = Diffro(heads, codebook, settings["beta"], settings["tau"], settings["gumbel"])
    if settings["loss"] == "diffro":
        return diffro
    base = make_loss({**settings, "loss": settings["base"]})
    assert isinstance(base, Grpo)  # BASES are
    return Combined(base, diffro, settings["diffro_weight"], settings["filter"])
