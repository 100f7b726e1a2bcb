"""Weights & Biases: one W&B run per run folder, continued by the id in RUN/track/wandb-id.

WANDB_PROJECT (else "arl"), WANDB_MODE=offline and the other variables mean what they do everywhere. The x axis
is "step": W&B's own counter does not take a step twice.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import wandb

from arl.shards.durable import write_file


class WeightsAndBiases:
    def __init__(self, run: Path) -> None:
        folder = run / "track"
        folder.mkdir(parents=True, exist_ok=True)
        name = run.resolve().name
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "arl"), name=name, id=_own_id(folder / "wandb-id"), dir=str(folder),
            resume="allow", settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        self.run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def close(self) -> None:
        self.run.finish()
        wandb.teardown()  # waits until its service has written all, and ends it


def _own_id(path: Path) -> str:
    if not path.is_file():
        write_file(path, uuid.uuid4().hex[:12] + "\n")
    return path.read_text().strip()


def open_tracker(run: Path) -> WeightsAndBiases:
    return WeightsAndBiases(run)
