"""The token recogniser as what DiffRO maximises: `arl update --loss diffro --token-asr DIR`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arl.losses.heads import WeightedHead
from arl.models.token_asr.model import digest, load, read_config


@dataclass(frozen=True)
class TokenAsrHead:
    """A `HeadSpec` (arl/losses/heads.py). path: the recogniser's folder."""

    path: Path
    name: str = "token_asr"
    weight: float = 1.0

    def fingerprint(self) -> list[Any]:
        return [self.name, self.weight, digest(self.path)]

    def load(self, device: torch.device) -> WeightedHead:
        return WeightedHead(self.name, load(self.path).to(device), self.weight)

    @property
    def n_codes(self) -> int:
        return int(read_config(self.path)["shape"].get("codes", 0))
