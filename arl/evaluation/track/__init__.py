"""Trackers of experiments: TensorBoard, Weights & Biases, Trackio. A tracker is a file here that has `open_tracker`, by
the library of its own name.

    track(Path("runs/demo"), "tensorboard")          # all steps and evaluations
    track(Path("runs/demo"), "wandb", step=3)        # those of one step, as the loop does after each

Left out: what a library keeps beside numbers (pictures, audio); `arl report --html` shows these.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from arl.errors import ArlError, UsageError
from arl.evaluation.track.metrics import points


class Tracker(Protocol):
    """Where numbers go."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """values: by names like "train/kl". A step may come again, after a loop was interrupted."""

    def close(self) -> None:
        """All that was logged is written, or sent, when this returns."""


def trackers() -> list[str]:
    """The names that `--track` takes."""
    own = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(own - {"metrics"})


def track(run: Path, name: str, step: int | None = None) -> int:
    """Logs a run, or one step of it; how many points there were. UsageError for an unknown tracker, ArlError where its
    library is missing or the run has nothing to log."""
    if name not in trackers():
        raise UsageError(f"--track {name}: of {', '.join(trackers())}")
    found = list(points(run, step))
    if not found:
        raise ArlError(f"{run}: no finished step there")
    try:
        tracker: Tracker = importlib.import_module(f"{__name__}.{name}").open_tracker(run)
    except ImportError as error:
        raise ArlError(f"--track {name} needs its library ({error}): pip install 'arl[{name}]'") from error
    try:
        for number, values in found:
            tracker.log(number, values)
    finally:
        tracker.close()
    return len(found)
