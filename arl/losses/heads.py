"""What DiffRO maximises: differentiable rewards of acoustic tokens, `arl train-token-asr`'s recogniser or your own.

    arl update --loss diffro --token-asr token-asr --head ./calm.py:Calm=0.2 …

A head reads one-hots, whose values are the sampled tokens and whose gradient goes to the policy. Its own weights are
never trained. Left out: arguments of a head; a class reads what it needs from its own folder.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from arl.errors import ArlError, UsageError
from arl.rewards.programs.inprocess import load_module
from arl.rewards.programs.resolve import split_value

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Head(Protocol):
    """A class without arguments; if it is a torch module it is moved to the device, frozen and set to evaluation.

    It may have `fits(n_codes, text) -> bool`: whether a hypothesis of so many codes can have a reward at all. Those
    that cannot, and those without codes, are left out. One whose first layer is a matrix may have `code_table()`, the
    matrix [C, W], and `rewards_of_rows(rows, lengths, texts)`, which takes one-hots times it, [B, T, W]: then only
    some hypotheses' one-hots are in memory at once, and `rewards` is not called.
    """

    def rewards(self, onehots: "Tensor", lengths: "Tensor", texts: Sequence[str]) -> "Tensor":
        """onehots [B, T, C], zero behind lengths int64 [B], each ≥ 1; texts as the shards have them → finite [B],
        differentiable in onehots."""


@dataclass(frozen=True)
class WeightedHead:
    """A loaded head and its weight in the reward."""

    name: str
    head: Head
    weight: float = 1.0

    def fits(self, n_codes: int, text: str) -> bool:
        own = getattr(self.head, "fits", None)
        return n_codes > 0 and (own is None or own(n_codes, text))

    def table(self) -> "Tensor | None":
        """The matrix [C, W] that takes the one-hots' place in `rewards`, None where the head wants one-hots."""
        own = getattr(self.head, "code_table", None)
        return None if own is None else own()

    def rewards(self, read: "Tensor", lengths: "Tensor", texts: Sequence[str]) -> "Tensor":
        """As the head's; read: one-hots [B, T, C], or one-hots times the table [B, T, W]. ArlError where it breaks its
        contract."""
        own: Any = self.head
        values = (own.rewards if self.table() is None else own.rewards_of_rows)(read, lengths, texts)
        if values.shape != lengths.shape:
            raise ArlError(f"{self.name}: rewards of shape {list(values.shape)} for {len(lengths)} hypotheses")
        if not bool(values.isfinite().all()):
            place = int((~values.isfinite()).nonzero()[0])
            raise ArlError(f"{self.name}: the reward of a hypothesis of {texts[place]!r} is not a finite number")
        return values


class HeadSpec(Protocol):
    """A head that is not loaded yet: a class of a file (`FileHead`), or a model that arl knows (arl/models/)."""

    @property
    def name(self) -> str:
        """Of its metric."""

    @property
    def path(self) -> Path:
        """The file, or the model's folder."""

    @property
    def n_codes(self) -> int | None:
        """How many codes the one-hots that it reads have; None: any number."""

    def fingerprint(self) -> list[Any]:
        """What makes its rewards, JSON-serialisable: name, weight, and a digest of its file or weights."""

    def load(self, device: "torch.device") -> WeightedHead:
        """The head on a device. ArlError where it cannot be loaded."""


@dataclass(frozen=True)
class FileHead:
    """A `HeadSpec`: the class `name` of the Python file `path`."""

    path: Path
    name: str
    weight: float = 1.0
    n_codes: None = None

    def fingerprint(self) -> list[Any]:
        return [self.name, self.weight, hashlib.sha256(self.path.read_bytes()).hexdigest()]

    def load(self, device: "torch.device") -> WeightedHead:
        import torch

        head = load_class(self.path, self.name)()
        if isinstance(head, torch.nn.Module):
            head = head.to(device).requires_grad_(False).eval()
        return WeightedHead(self.name, head, self.weight)


def parse_head(text: str) -> FileHead:
    """`FILE.py:CLASS` or `FILE.py:CLASS=WEIGHT`. UsageError for anything else."""
    spec, weight = split_value(text)
    file, _, attribute = spec.rpartition(":")
    if not file.endswith(".py") or not attribute.isidentifier():
        raise UsageError(f"--head {text}: write FILE.py:CLASS, or FILE.py:CLASS=WEIGHT")
    if not Path(file).is_file():
        raise UsageError(f"--head {text}: there is no file {file}")
    return FileHead(Path(file), attribute, 1.0 if weight is None else weight)


def load_class(path: Path, name: str) -> type:
    """The class `name` of a Python file. ArlError where the file does not run; UsageError where it has no such head."""
    module = load_module(path.resolve(), hashlib.sha256(path.read_bytes()).hexdigest())
    found = getattr(module, name, None)
    if not isinstance(found, type) or not callable(getattr(found, "rewards", None)):
        raise UsageError(f"--head {path}:{name}: the file has no class {name} with a method `rewards`")
    return found
