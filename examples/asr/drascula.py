"""Speech without texts: the voiced lines of the game "Drascula: The Vampire Strikes Back" (1996), as Whisper tiny.en
hears them.

783 clips, 49 min of acted English at 11 kHz, from the Debian package drascula (26 MB, in main). Its texts say something
else than the voices; what is trained on are labels (`heard.py`).

Licence: the game's own: free to distribute and to modify, not to be sold by itself. Nothing of it is part of arl.

    python -m examples.asr.drascula -o vampire           # about four minutes on one core
    arl data --folder vampire --shuffle -o data
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from arl.runtime.debian import debian
from examples.asr.heard import game_wave, write_heard

PACKAGE = ("drascula", "ed4af8e2d41ad446e2f3b73533daa1804e2f13f62f596c0b02b8dc39544f22b4")
FOLDER = "usr/share/scummvm/drascula/en"
SPEECH = ".ALS"  # raw unsigned 8-bit samples


def main(out: Annotated[Path, typer.Option("--out", "-o")]) -> None:
    write_heard(dict(clips(debian(*PACKAGE) / FOLDER)), out)


def clips(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The voiced lines' names and float32 [n] waveforms at 16 kHz."""
    for path in sorted(folder.glob("*" + SPEECH)):
        yield path.stem, game_wave(path.read_bytes())


if __name__ == "__main__":
    typer.run(main)
