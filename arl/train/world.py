"""The processes that share one update, as the trainer sees them. This one is alone; those of torchrun are
arl/train/parallel.py, which is imported for them only.

    with joined("auto", threads=0) as world: ...     # arl/train/update.py

Every process reads the whole batch, so that what a loss divides by is known everywhere: the gradients of the processes'
shares add up to that of the batch, as those of micro-batches do.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from arl.runtime.device import pick_device
from arl.train.groups import PromptGroup

T = TypeVar("T")


class World:
    """One process, which does everything by itself. rank: its number. size: of how many."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def place(self, device: str, threads: int) -> torch.device:
        """As `pick_device`: where this process computes."""
        return pick_device(device, threads)

    def wait(self) -> None:
        """Returns when every process is here."""

    def told(self, thing: T) -> T:
        """What the first process says."""
        return thing

    # ---- a batch ----

    def share(self, groups: Sequence[PromptGroup]) -> list[PromptGroup]:
        """This process's groups of a batch, in its order."""
        return list(groups)

    def evened(self, cut: list[T], stand_in: Callable[[], T]) -> tuple[list[T], int]:
        """(passes, how many of them are this process's own): all processes make as many passes as the one with most,
        since a pass gathers weights from all."""
        return cut, len(cut)

    def merged(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Of all processes: the sum, and of those named `…_max` the largest."""
        return dict(metrics)

    # ---- a model ----

    def loading_device(self, device: torch.device) -> torch.device:
        """Where a model is loaded before `spread`."""
        return device

    def spread(self, model: T, keep_on_host: bool = False) -> T:
        """The model with its weights shared out over the processes, in place. keep_on_host: the shares are in host
        memory while no pass needs them."""
        return model

    def call(self, model: nn.Module, function: Callable[..., T], *arguments: Any) -> T:
        """function(model, *arguments) while its weights are whole."""
        return function(model, *arguments)

    def rows(self, tensor: Tensor) -> tuple[int, int]:
        """(first, number of) the rows along the first dimension that this process has of a weight."""
        return 0, tensor.shape[0] if tensor.ndim else 1

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which every process has its rows."""
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Of the parameters that every process has whole: sums the gradients."""

    def total_norm(self, gradients: Mapping[nn.Parameter, Tensor]) -> Tensor:
        """2-norm of all gradients. gradients: each parameter's, `local`."""
        return nn.utils.get_total_norm(list(gradients.values()))


ALONE = World()


def local(tensor: Any) -> Tensor:
    """The rows of a spread tensor that this process has; any other tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def is_spread(tensor: Tensor) -> bool:
    """Whether this process has some rows of it only."""
    return hasattr(tensor, "to_local")
