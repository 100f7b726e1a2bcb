"""Speech without texts: the voiced lines of the game "Beneath a Steel Sky" (1994), as Whisper tiny.en hears them.

3,455 clips, about two hours of acted English at 11 kHz, from the Debian package beneath-a-steel-sky (66 MB, in main).
Its texts are packed; what is trained on are labels (`heard.py`).

Licence: the game's own: free to distribute and to modify, not to be sold by itself. Nothing of it is part of arl.

    python -m examples.asr.steel_sky -o sky           # about 20 minutes on one core
    arl data --folder sky --shuffle -o data
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from arl.errors import ArlError
from arl.runtime.debian import debian
from examples.asr.heard import game_wave, write_heard

PACKAGE = ("beneath-a-steel-sky", "e2a25c880220c26a4dfd42904b878cc655afa1c72895f9c932befbd078622934")
FOLDER = "usr/share/scummvm/beneath-a-steel-sky"
SPEECH = range(49664, 55040)  # numbers of the entries that are voiced lines
HEADER = 22  # bytes in front of an entry's packed part


def main(out: Annotated[Path, typer.Option("--out", "-o")]) -> None:
    folder = debian(*PACKAGE) / FOLDER
    write_heard({str(number): wave for number, wave in clips(folder / "sky.dnr", folder / "sky.dsk")}, out)


def clips(index: Path, disk: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The voiced lines' numbers and float32 [n] waveforms at 16 kHz.

    The index: u32 number of entries, little-endian, then 8 bytes each: u16 number, u24 offset, u24 size. The offset's
    highest bit says that the rest counts 16 bytes; the size's two highest bits are flags. An entry that is speech: 22
    bytes, then unsigned 8-bit samples at 11,025 Hz packed by RNC ProPack. ArlError for anything else.
    """
    from propack import unpack

    table, data = index.read_bytes(), disk.read_bytes()
    (n_entries,) = struct.unpack_from("<I", table)
    for place in range(n_entries):
        number, offset, size = entry(table[4 + 8 * place : 12 + 8 * place])
        if number not in SPEECH:
            continue
        try:
            samples = unpack(data[offset + HEADER : offset + size])
        except ValueError as error:
            raise ArlError(f"{disk}: entry {number}: no packed speech ({error})") from error
        yield number, game_wave(samples)


def entry(row: bytes) -> tuple[int, int, int]:
    """Number, offset and size in bytes."""
    number, offset, size = (int.from_bytes(row[low:high], "little") for low, high in ((0, 2), (2, 5), (5, 8)))
    return number, (offset & 0x7FFFFF) << 4 if offset & 0x800000 else offset, size & 0x3FFFFF


if __name__ == "__main__":
    typer.run(main)
