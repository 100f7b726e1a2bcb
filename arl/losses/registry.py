"""A loss by its name: the file of that name is imported, and its `LOSS` asked.

find_loss("gspo").trains_on                                  # "rollouts"
loss = make_loss(LossSettings(loss="gspo", beta=0.0))
"""

import importlib
from dataclasses import replace
from typing import TypeVar

from arl.losses import NAMES
from arl.losses.micro_batch import Loss
from arl.losses.settings import LossSettings
from arl.losses.spec import CLIP, AcousticInputs, LossSpec, TrainsOn, from_settings

S = TypeVar("S", bound=LossSettings)


def find_loss(name: str) -> LossSpec:
    """What the loss's own file says of it. ValueError for a name without a file and a page."""
    if name not in NAMES:
        raise ValueError(f"there is no loss {name!r}: one of {', '.join(NAMES)}")
    spec: LossSpec = importlib.import_module(f"arl.losses.{name}").LOSS
    return spec


def losses_on(data: TrainsOn) -> tuple[str, ...]:
    """The names of the losses that train on this."""
    return tuple(name for name in NAMES if find_loss(name).trains_on == data)


def make_loss(settings: LossSettings, acoustic: AcousticInputs | None = None) -> Loss:
    """The loss that the settings name. acoustic: for one on acoustic rollouts; ValueError where it is missing."""
    spec = find_loss(settings.loss)
    if spec.make is None:
        loss: Loss = from_settings(spec.kind, settings)
        return loss
    if acoustic is None:
        raise ValueError(f"{settings.loss} needs heads and a codebook")
    return spec.make(settings, acoustic)


def with_own_clips(settings: S) -> S:
    """The settings with the loss's own ε where none is given: as records and fingerprints have them.

    A loss that does not clip has CLIP there; one that adds to another (--base) has that one's.
    """
    spec = find_loss(settings.loss)
    kind = find_loss(settings.acoustic.base).kind if spec.has_base and settings.acoustic else spec.kind
    low, high = (getattr(kind, name, CLIP) for name in ("clip_low", "clip_high"))
    return replace(
        settings,
        clip_low=low if settings.clip_low is None else settings.clip_low,
        clip_high=high if settings.clip_high is None else settings.clip_high,
    )
