"""What one `arl update` is told: every flag that changes its result, as one frozen record. Imports no torch.

    UpdateSettings(loss="dapo", lr=1e-5, epochs=2).to_json()

Left out: where it runs (device, threads) and what only saves work (checkpoints), which change no result.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from arl.losses.settings import LossSettings

ScheduleKind = Literal["constant", "cosine"]
Autocast = Literal["none", "bfloat16"]
ADDED: dict[str, Any] = {  # fields that version 0.1 did not have, and what it computed with
    "shuffle": False, "lora_rank": 0, "lora_alpha": 0, "lora_targets": (), "ce": 0.0, "token_dropout": 0.0,
    "mwer_form": "list", "mwer_scale": 1.0, "mwer_errors": "count",
}  # fmt: skip


@dataclass(frozen=True)
class UpdateSettings(LossSettings):
    """The fields are named as the flags, which arl/cli/update.py explains."""

    epochs: int = 1
    gather: int = 0
    allow_stale: bool = False
    train_projector: bool = False
    ctc: float = 0.0
    token_dropout: float = 0.0
    lr: float = 1e-6
    warmup: int = 0
    schedule: ScheduleKind = "constant"
    total_steps: int = 0
    max_steps: int = 0
    weight_decay: float = 0.0
    max_norm: float = 1.0
    fresh_optimizer: bool = False
    tokens: int = 0
    autocast: Autocast = "none"
    checkpointing: bool = False
    offload: bool = False
    compile: bool = False
    seed: int = 0
    lora_rank: int = 0
    lora_alpha: int = 0
    lora_targets: tuple[str, ...] = ()
    shuffle: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the record has it and the fingerprint hashes it.

        Policies are recognised by these bytes, so they must not change: a field that is added later is left out where
        it says what was computed before (ADDED), and where the loss does not look at it.
        """
        found = asdict(self)
        acoustic: dict[str, Any] = found.pop("acoustic") or {}
        later = {name: value for name, before in ADDED.items() if (value := found.pop(name)) != before}
        if self.loss != "mwer":
            later = {name: value for name, value in later.items() if not name.startswith("mwer_")}
        return found | acoustic | later
