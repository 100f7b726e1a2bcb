"""Human English speech by many speakers: the voiced lines of the game "Flight of the Amazon Queen" (1995).

5,481 clips, 3.8 hours, 29 characters by 13 voice artists, MP3 at 11 kHz, with the texts they were given: acted
speech, between one word and three sentences. From the Debian package flight-of-the-amazon-queen (35 MB, in main).

Left out is what `amazon_queen.tsv` says (`examples/asr/queen.py` makes it): clips in which Whisper tiny.en hears
something else than the text, such as grunts, laughter and lines that were changed in the studio. A cut-scene does not
say who speaks; there the character is the nearest by voice, and none where that is in doubt.

Licence: the package's own (in LICENSE.txt of the shards): free to distribute and to modify, not to be sold by itself.
Nothing of it is part of arl.

    arl data --amazon-queen --by speaker --split test=jim+naomi,dev=klunk,train=rest -o data
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from arl.data.corpora.asterisk import spoken
from arl.data.corpora.queen_file import CLIP, QueenFile, lines
from arl.data.corpora.utterance import DEFAULTS, Corpus, CorpusUtterance, SourceOptions
from arl.errors import ArlError
from arl.runtime.debian import debian

N_UTTERANCES = 5481
NAME = "the voiced lines of Flight of the Amazon Queen"
PACKAGE = ("flight-of-the-amazon-queen", "40c08fd258d6fe95c46c1eaf5e9137f84ba330657995a281bd887c94a560a0f1")
FILE = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
COPYRIGHT = "usr/share/doc/flight-of-the-amazon-queen/copyright"
TABLE = Path(__file__).with_suffix(".tsv")
LEFT_OUT = "-"  # in the table, in place of a speaker
MARKS = str.maketrans("", "", '*^_@"')  # marks of the screen: a trade mark, a heart, quotation

LICENCE = """\
The recordings and texts in these shards are from the game Flight of the Amazon Queen, (C) 1995 John Passfield and
Steven Stamatiadis (Debian package flight-of-the-amazon-queen 1.0.0-9). This is a MODIFIED version of a part of it: its
voiced lines alone, decoded from MP3 to 16 kHz FLAC, some left out. It comes under the licence of the game, with the
same restrictions:

"""


def corpus(wanted: bool = True, options: SourceOptions = DEFAULTS) -> Corpus:
    """The clips as a source of `arl data`."""
    folder = debian(*PACKAGE)
    licence = LICENCE + (folder / COPYRIGHT).read_text(encoding="utf-8")
    told = read_table(TABLE)
    return Corpus(NAME, lambda scratch: utterances(folder / FILE, told), identity=[PACKAGE, told], licence=licence)


def utterances(file: Path, told: dict[str, str]) -> Iterator[CorpusUtterance]:
    """The clips in the order of their names. ArlError for a file that is not the game's."""
    game = QueenFile(file)
    for clip, line in lines(game).items():
        speaker = told.get(clip, line.speaker)
        text = spoken(line.text.translate(MARKS))
        if speaker != LEFT_OUT and text:
            audio = partial(game.read, clip + CLIP)
            yield CorpusUtterance(clip, text, audio, lang="en", speaker=speaker, name=f"{clip}.mp3")


def read_table(path: Path) -> dict[str, str]:
    """Clip → its speaker, or `LEFT_OUT`: lines `clip<TAB>speaker`, `#` before a remark."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if any(len(row) != 2 for row in rows):
        raise ArlError(f"{path}: a line is a clip, a tab and a speaker")
    return {clip: speaker for clip, speaker in rows}
