"""Trackio: a local dashboard (`trackio show`). The project is "arl" or TRACKIO_PROJECT, the run's name its folder's."""

import os
from collections.abc import Mapping
from pathlib import Path

import trackio


class Trackio:
    def __init__(self, run: Path) -> None:
        project = os.environ.get("TRACKIO_PROJECT", "arl")
        self.run = trackio.init(project=project, name=run.resolve().name, resume="allow", embed=False)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


def open_tracker(run: Path) -> Trackio:
    return Trackio(run)
