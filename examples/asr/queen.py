"""Which clips of the game are left out, and who speaks in its cut-scenes: `arl/data/corpora/amazon_queen.tsv`.

    python -m examples.asr.queen -o arl/data/corpora/amazon_queen.tsv         # about 40 minutes on one core

A clip is left out where Whisper tiny.en's best prefix has more than half as many errors as the text has words: on short
windows, at a third of the cost of 30 s, Whisper repeats itself, so what follows the best prefix counts for nothing.

In a cut-scene the character is that with the nearest mean speaker embedding, if that is one of training and nearer by
0.04 (cosine) than every character of `HELD_OUT`; else it stays unknown, and `arl data --by speaker` leaves it out.
Of the held-out characters' own clips this rule takes 0.4 % for somebody of training.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from arl.audio.io import load
from arl.data.corpora.amazon_queen import FILE, LEFT_OUT, PACKAGE
from arl.data.corpora.queen_file import CLIP, Line, QueenFile, lines
from arl.runtime.debian import debian
from arl.text.normalise import normalise
from examples.asr.short_windows import transcripts

TEST, DEVELOPMENT = ("jim", "naomi", "oracle", "zombie", "klunk"), ("chief", "ian", "henry", "witch")
HELD_OUT = frozenset(TEST + DEVELOPMENT)
MOST_ERRORS = 0.5  # per word of the text
MARGIN, LEAST = 0.04, 0.6  # cosines
FEWEST = 10  # clips of a character whose mean counts


def main(out: Annotated[Path, typer.Option("--out", "-o")]) -> None:
    game = QueenFile(debian(*PACKAGE) / FILE)
    said = lines(game)
    waves = {clip: load(game.read(clip + CLIP), name=clip) for clip in said}
    is_out = {clip for clip, errors in error_rates(said, waves).items() if errors > MOST_ERRORS}
    speakers = cut_scene_speakers({clip: line for clip, line in said.items() if clip not in is_out}, waves)
    rows = {**dict.fromkeys(is_out, LEFT_OUT), **speakers}
    head = "# Clips of the game that are left out (-), and who speaks in cut-scenes by voice: examples/asr/queen.py.\n"
    out.write_text(head + "".join(f"{clip}\t{rows[clip]}\n" for clip in sorted(rows)))


def error_rates(said: Mapping[str, Line], waves: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors of Whisper's best prefix per word of the text."""
    heard = transcripts(waves)
    rates: dict[str, float] = {}
    for clip, line in said.items():
        words = normalise(line.text, "en").split()
        rates[clip] = best_prefix(words, normalise(heard[clip].text, "en").split()) / len(words) if words else np.inf
    return rates


def best_prefix(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The least edit distance between the reference and a prefix of the hypothesis."""
    row = list(range(len(hypothesis) + 1))
    for number, word in enumerate(reference, start=1):
        above, row = row, [number]
        for place, other in enumerate(hypothesis, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (word != other)))
    return min(row)


def cut_scene_speakers(said: Mapping[str, Line], waves: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The character of each cut-scene's clip for which the rule above has one."""
    from arl.audio.speaker import embedding

    vectors = {clip: unit(found) for clip in said if (found := embedding(waves[clip], "cpu")) is not None}
    clips = defaultdict(list)
    for clip, vector in vectors.items():
        clips[said[clip].speaker].append(vector)
    means = {who: unit(np.mean(own, axis=0)) for who, own in clips.items() if who and len(own) >= FEWEST}
    names = [who for who in means if who not in HELD_OUT]
    known, held_out = (np.array([means[who] for who in group]) for group in (names, HELD_OUT & means.keys()))
    speakers: dict[str, str] = {}
    for clip in (clip for clip in vectors if not said[clip].speaker):
        near, other = known @ vectors[clip], (held_out @ vectors[clip]).max()
        if near.max() - other >= MARGIN and near.max() > LEAST:
            speakers[clip] = names[int(near.argmax())]
    return speakers


def unit(vector: Any) -> np.ndarray:
    found = np.asarray(vector)
    return np.asarray(found / np.linalg.norm(found))


if __name__ == "__main__":
    typer.run(main)
