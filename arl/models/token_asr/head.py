"""The token recogniser as what DiffRO maximises: `arl update --loss diffro --token-asr DIR`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arl.errors import ArlError
from arl.losses.heads import Weighted
from arl.models.token_asr.model import digest, load, read_config
from arl.policy import Policy


@dataclass(frozen=True)
class TokenAsrHead:
    """A `HeadSpec` (arl/losses/heads.py). path: the recogniser's folder."""

    path: Path
    name: str = "token_asr"
    weight: float = 1.0

    def fingerprint(self) -> list[Any]:
        return [self.name, self.weight, digest(self.path)]

    def load(self, device: torch.device) -> Weighted:
        return Weighted(self.name, load(self.path).to(device), self.weight)

    def check(self, policy: Policy) -> None:
        """ArlError where the recogniser reads another number of codes than the policy speaks."""
        found, wanted = read_config(self.path)["shape"].get("codes"), policy.acoustic[1]
        if found != wanted:
            raise ArlError(f"{self.path}: a recogniser of {found} codes, but {policy.path} speaks {wanted}: "
                           "train one on this policy's codes")  # fmt: skip
