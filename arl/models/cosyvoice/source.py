"""A downloaded folder of CosyVoice: its files, and its `.pt` files read as tensors alone.

    source = Source.open(folder, VERSION_2); tensors = source.tensors("llm.pt")

A `.pt` file is a pickle: it is read by torch's own reader of tensors (`weights_only`), which runs nothing of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from arl.errors import ArlError
from arl.models.cosyvoice.layout import Layout
from arl.models.cosyvoice.recipe import CLASS, read_recipe
from arl.models.weights import read_pt

LLM, FLOW, HIFT, SPEAKERS, CAMPPLUS = "llm.pt", "flow.pt", "hift.pt", "spk2info.pt", "campplus.onnx"
BLANK = "CosyVoice-BlankEN"
NEEDED = LLM, FLOW, HIFT, f"{BLANK}/config.json"


@dataclass(frozen=True)
class Source:
    folder: Path
    layout: Layout

    @classmethod
    def open(cls, folder: Path, layout: Layout) -> "Source":
        """ArlError naming the files that are missing, or the version that the recipe is of."""
        if missing := [name for name in NEEDED if not (folder / name).is_file()]:
            raise ArlError(f"{folder}: no {', '.join(missing)}: download the whole folder of {layout.title}")
        source = cls(folder, layout)
        found = str(source._section("llm").get(CLASS, ""))
        if found.rpartition(".")[2] != layout.llm_class:
            raise ArlError(f"{folder / layout.recipe}: its llm is {found or 'of no class'}, not {layout.llm_class}: "
                           f"the recipe of another version than {layout.title}")  # fmt: skip
        return source

    @cached_property
    def recipe(self) -> dict[str, Any]:
        return read_recipe(self.folder / self.layout.recipe)

    @property
    def n_codes(self) -> int:
        """Codes of the speech tokenizer, C."""
        return int(self.number("llm", "speech_token_size"))

    def number(self, *names: str) -> Any:
        """A number of the recipe by its path. ArlError where it is not there."""
        found: Any = self.recipe
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ArlError(f"{self.folder / self.layout.recipe}: no number {'.'.join(names)}")
        return found

    def _section(self, name: str) -> dict[str, Any]:
        found = self.recipe.get(name)
        return found if isinstance(found, dict) else {}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of a `.pt` file by name, in its order. ArlError where it has anything else."""
        found = read_pt(self.folder / name)
        for key, tensor in found.items():
            if not isinstance(tensor, Tensor):
                raise ArlError(f"{self.folder / name}: {key} is no tensor: export the model's weights alone")
        return dict(found)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    return found
