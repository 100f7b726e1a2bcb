"""A LoRA in a folder in peft's format: added to the weights that it lies on, and taken out again.

`merged` adds it, in float32, and rounds once to the weight's dtype. It is always added to the base and never
subtracted from a merged weight, which would not give the base back bit for bit.

The LoRA of a policy (arl/policy.py) is merged where a whole LLM is wanted: by the engine as it reads the weights, and
by `arl export --merge`. The LoRA that comes with a checkpoint, and that recognition uses, is merged by `arl init`;
`unmerged` gives its base weight plus the change of the merged one by training: the base itself, bit for bit, where
nothing was trained.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from arl.errors import ArlError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
UNKNOWN = "use_dora", "alpha_pattern", "rank_pattern", "modules_to_save"  # fields that would change the sum below


@dataclass(frozen=True)
class Adapter:
    """factors: name of a weight in `llm/` → the names of its (A [R, in], B [out, R]) in the file."""

    file: Path
    scale: float
    factors: dict[str, tuple[str, str]]

    def to_json(self, folder: Path) -> dict[str, Any]:
        """For layout.json. folder: of the checkpoint."""
        return {"file": str(self.file.relative_to(folder)), "scale": self.scale, "factors": self.factors}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], folder: Path) -> "Adapter":
        factors = {name: (a, b) for name, (a, b) in saved["factors"].items()}
        return cls(folder / saved["file"], saved["scale"], factors)

    def delta(self, name: str) -> Tensor:
        """scale · B A of one weight, float32."""
        with safe_open(self.file, "pt") as weights:
            a, b = (weights.get_tensor(factor).float() for factor in self.factors[name])
        return self.scale * (b @ a)

    def merged(self, name: str, base: Tensor) -> Tensor:
        """base + delta, in the base's dtype."""
        return (base.float() + self.delta(name)).to(base.dtype)

    def all_merged(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """(name, weight) of every base weight → the same, merged where there are factors. ArlError, behind the last,
        for factors of a weight that is not among them."""
        left = set(self.factors)
        for name, tensor in weights:
            left.discard(name)
            yield name, self.merged(name, tensor) if name in self.factors else tensor
        if left:
            raise ArlError(f"{self.file}: changes {sorted(left)[0]}, which is none of the base's weights")

    def unmerged(self, name: str, trained: Tensor, base: Tensor) -> Tensor:
        """The base of a trained merged weight, in the base's dtype."""
        change = trained.float() - self.merged(name, base).float()
        return (base.float() + change).to(base.dtype)


def same_names(names: Iterable[str]) -> dict[str, str]:
    """The names of an adapter that was trained on `llm/` itself."""
    return {name: name for name in names}


def load_adapter(folder: Path, plain: Callable[[Iterable[str]], dict[str, str]] = same_names) -> Adapter | None:
    """The adapter in a folder, None without one. plain: names of weights as the checkpoint has them → in `llm/`."""
    if not (folder / CONFIG).is_file():
        return None
    fields = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if not (folder / WEIGHTS).is_file():
        raise ArlError(f"{folder}: {CONFIG} without {WEIGHTS}: fetch the checkpoint again")
    if odd := [name for name in UNKNOWN if fields.get(name)]:
        raise ArlError(f"{folder / CONFIG}: {odd[0]} is not supported")
    with safe_open(folder / WEIGHTS, "pt") as weights:
        stored = {name: name.removeprefix("base_model.model.") for name in weights.keys()}  # noqa: SIM118 - not a dict
    rank = fields["r"] ** 0.5 if fields.get("use_rslora") else fields["r"]
    pairs = {
        short.replace(".lora_A.weight", ".weight"): (name, name.replace("lora_A", "lora_B"))
        for name, short in stored.items() if ".lora_A." in short
    }  # fmt: skip
    names = plain(pairs)
    if lost := sorted(pairs.keys() - names.keys()):
        raise ArlError(f"{folder}: its adapter changes {lost[0]}, which is none of the LLM's weights")
    return Adapter(folder / WEIGHTS, fields["lora_alpha"] / rank, {names[name]: pair for name, pair in pairs.items()})
