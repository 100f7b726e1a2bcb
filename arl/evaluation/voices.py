"""Reference voices to compare synthesised speech with: a file, a folder of files, or a synthesis policy's frontend.

    Voices.load(Path("policy/frontend")).of("anna")     # float32 [n] at 16 kHz

A frontend has its voices as acoustic tokens; they are decoded, so that a voice is compared with what the decoder makes
of it. Left out: several recordings of one voice.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arl.audio.io import load
from arl.errors import ArlError
from arl.models import family_of_frontend, files_of

SUFFIXES = (".flac", ".wav", ".mp3")


class Voices:
    """Recordings by the name of the voice; a single one is everybody's."""

    def __init__(self, waves: Mapping[str, np.ndarray]) -> None:
        self.waves = dict(waves)

    @classmethod
    def load(cls, path: Path) -> "Voices":
        """ArlError when there is no voice at `path`."""
        if path.is_file():
            return cls({path.stem: load(path)})
        if family := family_of_frontend(path, "voices"):
            return cls(family.voice_waves(path))
        files = [file for file in sorted(path.glob("*")) if file.suffix in SUFFIXES]
        if not files:
            config = files_of("voices")
            raise ArlError(f"--voices {path}: no audio file, no folder of NAME.flac, and no frontend with {config}")
        return cls({file.stem: load(file) for file in files})

    def of(self, name: str) -> np.ndarray | None:
        """The recording of a voice; None for an unknown name where there are several."""
        return next(iter(self.waves.values())) if len(self.waves) == 1 else self.waves.get(name)
