"""Human English speech for evaluation and small experiments: the prompts of the Asterisk telephone system.

549 clips, 24 minutes, 16 kHz, one speaker (Allison Smith, a professional voice), with the texts she was given. From
the Debian packages asterisk-core-sounds-en-g722 and asterisk-core-sounds-en (10.6 MB). Left out: tones, beeps,
silence and monkeys, two clips whose text is in doubt, and the "..." where a prompt continues in another clip.

Licence of the recordings: Creative Commons Attribution-ShareAlike 3.0 (CC-BY-SA-3.0), Copyright 2003-2010 Allison
Smith, financed by Digium, Inc. Shards made from them are under the same licence: `LICENCE` goes with them.

    arl data --asterisk -o data/human --split test=0.4,train=0.6
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from arl.data.corpora.utterance import DEFAULTS, Corpus, CorpusUtterance, SourceOptions
from arl.errors import ArlError
from arl.runtime.debian import debian

NAME = "the Asterisk prompts"
SPEAKER = "allison-smith"
N_UTTERANCES = 549
SOUNDS = ("asterisk-core-sounds-en-g722", "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806")
TEXTS = ("asterisk-core-sounds-en", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50")

LICENCE = """\
The recordings in these shards are the Asterisk core sounds in English (Debian packages asterisk-core-sounds-en-g722
and asterisk-core-sounds-en 1.6.1-1), Copyright 2003-2010 Allison Smith (http://www.theivrvoice.com), with financial
contributions by Digium, Inc. They are licensed under Creative Commons Attribution-ShareAlike 3.0 Unported
(CC-BY-SA-3.0): http://creativecommons.org/licenses/by-sa/3.0/

Changes made: decoded from G.722 to 16 kHz FLAC; numbers and symbols in the transcripts written as spoken words; clips
without speech left out. These shards are under the same licence.
"""

# Where the recording says something else than the list, or the list is misspelt: clip -> (written, said). Found by
# comparing every clip with what Whisper tiny.en hears; doubtful ones were settled by its likelihood of either text.
CORRECTIONS = {
    "conf-adminmenu-menu8": ("umute", "unmute"),
    "demo-congrats": ("help you to get", "help you get"),
    "demo-instruct": ("Finally,  you", "You"),
    "demo-moreinfo": ("www.asterisk.org", "w w w dot asterisk dot org"),
    "digits/h-40": ("fourtieth", "fortieth"),
    "letters/exclaimation-point": ("exclaimation-point", "exclamation point"),
    "pbx-invalid": ("sorry,", "sorry, but"),
    "pbx-invalidpark": ("sorry,", "sorry, but"),
    "priv-callee-options": ("thru", "through"),
    "queue-periodic-announce": ("represenatives", "representatives"),
    "spy-h323": ("H.323", "H 323"),
    "unidentified-no-callback": ("Un-indentified or witheld", "Unidentified or withheld"),
    "vm-forwardoptions": ("prepend a message", "prepend the message"),
}
DOUBTFUL = frozenset({"spy-iax", "spy-iax2"})  # "IAX" said as one word: no spelling is the right one


def corpus(wanted: bool = True, options: SourceOptions = DEFAULTS) -> Corpus:
    """The clips as a source of `arl data`."""
    return Corpus(NAME, lambda scratch: utterances(), identity=[SOUNDS, TEXTS, CORRECTIONS], licence=LICENCE)


def utterances() -> Iterator[CorpusUtterance]:
    """The 549 clips in the order of their names. Raises ArlError when a package cannot be fetched."""
    sounds = debian(*SOUNDS) / "usr/share/asterisk/sounds/en_US_f_Allison"
    listing = debian(*TEXTS) / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    found = 0
    for name, written in sorted(read_texts(listing).items()):
        if name in CORRECTIONS:
            written = written.replace(*CORRECTIONS[name])
        text = spoken(written)
        if text and name not in DOUBTFUL and (sounds / f"{name}.g722").is_file():
            found += 1
            yield CorpusUtterance(name, text, sounds / f"{name}.g722", lang="en", speaker=SPEAKER)
    if found != N_UTTERANCES:
        raise ArlError(f"{sounds}: {found} clips with speech, {N_UTTERANCES} expected: the package has changed")


def read_texts(listing: Path) -> dict[str, str]:
    """Name of a clip -> its text as written in the package's list (gzip, lines `name: text`, `;` comments)."""
    texts = {}
    for line in gzip.decompress(listing.read_bytes()).decode("utf-8").split("\n"):
        if line.strip() and not line.startswith(";"):
            name, text = line.split(":", 1)
            texts[name.strip()] = text.strip()
    return texts


def spoken(written: str) -> str:
    """A text of the list as it is said: no remarks in brackets, no ellipses, symbols and numbers as words.

    '' for what is only a remark, such as "[ascending tones]". Numbers of one or two digits are said as numbers,
    longer ones digit by digit.
    """
    text = re.sub(r"\[[^]]*\]|<[^>]*>|\([^)]*\)", " ", written)
    text = text.replace("*", " star ").replace("#", " pound ").replace("...", " ")
    text = re.sub(r"\d+(?:\.\d+)?", lambda match: f" {number_words(match.group())} ", text)
    text = re.sub(r"\s+([,.;:?!])", r"\1", " ".join(text.split()))
    return text.strip()


def number_words(digits: str) -> str:
    """'12' -> 'twelve', '600' -> 'six zero zero', '28.8' -> 'twenty eight point eight'."""
    import inflect  # takes a second to import

    words = inflect.engine()
    if "." in digits or len(digits) <= 2:
        return str(words.number_to_words(digits)).replace("-", " ")
    return " ".join(str(words.number_to_words(digit)) for digit in digits)
