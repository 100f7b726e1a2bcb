"""What `arl init --from` names, looked at without loading it: a local folder, or a name of a hub.

    Checkpoint("openai/whisper-small").model_type                                         # "whisper"
    Checkpoint("microsoft/Phi-4-multimodal-instruct@refs/pr/70").model_type               # "phi4_multimodal"

Of a hub's checkpoint only config.json is fetched, by the hub's own client: its cache and HF_HUB_OFFLINE hold.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from arl.errors import ArlError

CONFIG = "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """source: as it was given; a hub's name may end in @REVISION."""

    source: str

    @property
    def on_hub(self) -> tuple[str, str | None]:
        """(name, revision) of a hub's checkpoint."""
        name, _, revision = self.source.partition("@")
        return name, revision or None

    @property
    def folder(self) -> Path | None:
        """The local folder; None for a name."""
        return Path(self.source) if Path(self.source).is_dir() else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json; empty where there is none. ArlError where it is not a JSON object."""
        path = self._find_config()
        if path is None:
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArlError(f"{path}: not JSON ({error})") from error
        if not isinstance(found, dict):
            raise ArlError(f"{path}: not a JSON object")
        return found

    @property
    def model_type(self) -> str:
        """As config.json says; "" where it does not."""
        return str(self.config.get("model_type", ""))

    @property
    def what(self) -> str:
        """What was found there, in words for an error."""
        if self.model_type:
            return f"its {CONFIG} says model_type {self.model_type!r}"
        place = "there" if self.folder else "in a folder of that name, nor on the hub"
        return f"no {CONFIG} with a model_type {place}"

    def _find_config(self) -> Path | None:
        if self.folder or self.source.startswith(("/", ".", "~")):
            path = Path(self.source) / CONFIG
            return path if path.is_file() else None
        from transformers.utils import cached_file

        try:
            name, revision = self.on_hub
            found = cached_file(name, CONFIG, revision=revision)
        except (OSError, ValueError):  # no such name, no network, or not the form of a name
            return None
        return None if found is None else Path(found)
