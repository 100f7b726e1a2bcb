"""TensorBoard: event files in RUN/track/tensorboard (`tensorboard --logdir runs`)."""

from collections.abc import Mapping
from pathlib import Path

from tensorboard.summary import Writer


class TensorBoard:
    def __init__(self, folder: Path) -> None:
        self.writer = Writer(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def open_tracker(run: Path) -> TensorBoard:
    return TensorBoard(run / "track" / "tensorboard")
