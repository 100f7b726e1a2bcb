"""The file `queen.1c` of the game "Flight of the Amazon Queen": the clips in it, and the text of each.

    game = QueenFile(Path("queen.1c"))
    lines(game)["020007J1"]          # Line("joe", "At least MY plane doesn't have training wheels.")
    game.read("020007J1.SB")         # an MP3 file

All integers are big-endian. The file: "QTBL", 6 bytes version, 2 bytes, 1 byte kind of compression, u16 number of
entries; an entry is a 12-byte name padded with NUL, 1 byte, u32 offset, u32 size. `*.SB` are clips (MP3, 11 kHz).
Their texts stand in three kinds of entries:

`*.DOG`, a dialogue of the hero (J) with one character (P), behind 20 bytes: s16 at 0 number of levels, at 4 the
dialogue's key, at 6 and 8 the numbers of J's and P's lines; u16 at 22 where P's begin; J's begin at 32 + 96 a level.
A line is 2 bytes, s16 id, u8 length and the text, aligned to 4. The clip's name is the key in 2 digits, the id in 4
hexadecimal ones, J or P, and the number of the part in hexadecimal.

`*.CUT`, a cut-scene, behind 20 bytes: s16 at 2 number of sentences (its sign means something else), u16 at 8 where they
begin: one that is not counted, then the counted ones; u8 length and the text, zeros in between. The clip's name is the
entry's padded with _ to five, the number in 2 digits, and that of the part. Who speaks is not said.

`QUEEN2.JAS`, lines of text (Latin-1, CRLF): line N - 41 is what the hero says in `JOE` + N in 4 digits + part.

A text has commands: an asterisk and two characters (XY: nine more). They part it; a part is a clip. Left out: the rest
of the game. ArlError for a file that is none, and for an entry that is cut.
"""

import re
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from arl.errors import ArlError

HERO = "joe"
CLIP = ".SB"
HEADER = 20  # bytes before what is told about an entry here
FIRST_HERO_LINE = 41  # clips of the hero's own lines are numbered from here
COMMAND = re.compile(r"\*(?:XY.{9}|..)?", re.DOTALL)


class Line(NamedTuple):
    """What is said in a clip. speaker: '' in a cut-scene, else the hero or the name of the dialogue without its
    number, in lower case."""

    speaker: str
    text: str


class QueenFile:
    """The entries of the file by name; it is read anew for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            head = file.read(15)
            if head[:4] != b"QTBL" or len(head) < 15:
                raise ArlError(f"{path}: not the file of the game (no QTBL at its start)")
            table = file.read(21 * int.from_bytes(head[13:]))
        self.places: dict[str, tuple[int, int]] = {}
        if len(table) != 21 * int.from_bytes(head[13:]):
            raise ArlError(f"{path}: cut within its table of entries; take the package again")
        for name, _, offset, size in struct.iter_unpack(">12sBII", table):
            self.places[name.rstrip(b"\0").decode("latin-1")] = offset, size

    def read(self, name: str) -> bytes:
        """The bytes of an entry."""
        offset, size = self.places[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise ArlError(f"{self.path}: cut within {name}; take the package again")
        return content

    def names(self, ending: str) -> list[str]:
        """The entries of a kind, without the ending, sorted."""
        return sorted(name.removesuffix(ending) for name in self.places if name.endswith(ending))


def lines(game: QueenFile) -> dict[str, Line]:
    """Clip (without .SB) → what is said in it, for the clips whose text is found; sorted by name."""
    found: dict[str, Line] = {}
    for ending, read in ((".DOG", dialogue), (".CUT", cut_scene)):
        for name in game.names(ending):
            try:
                found.update(read(name, game.read(name + ending)[HEADER:]))
            except (struct.error, IndexError) as error:
                raise ArlError(f"{game.path}: {name}{ending} ends early; take the package again") from error
    if "QUEEN2.JAS" in game.places:
        found.update(hero_lines(game.read("QUEEN2.JAS")))
    return {clip: found[clip] for clip in game.names(CLIP) if clip in found}


def dialogue(name: str, content: bytes) -> Iterator[tuple[str, Line]]:
    """(clip, line) of a `.DOG` entry behind its header."""
    (levels,) = struct.unpack_from(">h", content, 0)
    key, n_hero, n_other = struct.unpack_from(">hhh", content, 4)
    (others,) = struct.unpack_from(">H", content, 22)
    character = name.rstrip("0123456789").lower()
    for letter, speaker, place, n in (("J", HERO, 32 + 96 * abs(levels), n_hero), ("P", character, others, n_other)):
        for _ in range(n):
            number, length = struct.unpack_from(">hB", content, place + 2)
            for part, text in _parts(content[place + 5 : place + 5 + length]):
                yield f"{key:02d}{number:04X}{letter}{part:X}", Line(speaker, text)
            place += 5 + length
            place += -place % 4


def cut_scene(name: str, content: bytes) -> Iterator[tuple[str, Line]]:
    """(clip, line) of a `.CUT` entry behind its header."""
    (n,) = struct.unpack_from(">h", content, 2)
    (place,) = struct.unpack_from(">H", content, 8)
    for number in range(abs(n) + 1):
        while number and not content[place]:
            place += 1
        length = content[place]
        for part, text in _parts(content[place + 1 : place + 1 + length]) if number else ():
            yield f"{name.ljust(5, '_')}{number:02d}{part}", Line("", text)
        place += 1 + length


def hero_lines(content: bytes) -> Iterator[tuple[str, Line]]:
    """(clip, line) of `QUEEN2.JAS`."""
    for number, line in zip(count(FIRST_HERO_LINE), content.split(b"\r\n"), strict=False):
        for part, text in _parts(line):
            yield f"JOE{number:04d}{part:X}", Line(HERO, text)


def _parts(text: bytes) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of the parts that have words."""
    for number, part in enumerate(COMMAND.split(text.decode("latin-1")), start=1):
        if any(char.isalpha() for char in part):
            yield number, " ".join(part.split())
