"""What Whisper tiny.en hears in shards, as a second system for `arl mine`: a table of key<TAB>text.

    python -m examples.asr.whisper_texts data/train -o whisper.tsv
    arl mine --shards data/train --system own=rollout/ --system whisper=whisper.tsv --against data/test

A clip is heard on a short window (short_windows.py), and on 30 s where Whisper is not sure of that, or does not end.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from arl.audio.clips import load_shard
from arl.audio.io import SAMPLE_RATE
from arl.audio.judge import Judge
from arl.errors import ArlError
from arl.shards.durable import write_file
from arl.shards.paths import expand
from arl.shards.reader import read_shard
from examples.asr.heard import LEAST_LOG_PROB
from examples.asr.short_windows import transcripts


def main(shards: list[str], out: Annotated[Path, typer.Option("--out", "-o", help="Table to write.")]) -> None:
    """Transcribe the audio of shards with Whisper tiny.en."""
    waves = read_waves(shards)
    heard = transcripts(waves)
    texts = {key: each.text for key, each in heard.items()}
    unsure = [key for key, each in heard.items() if not each.is_whole or each.log_prob < LEAST_LOG_PROB]
    texts |= zip(unsure, Judge.load(None).transcribe([waves[key] for key in unsure]), strict=True)
    write_file(out, "".join(f"{key}\t{' '.join(text.split())}\n" for key, text in sorted(texts.items())))
    print(f"{out}: {len(texts)} clips, {len(unsure)} of them heard on 30 s", file=sys.stderr)


def read_waves(shards: list[str]) -> dict[str, np.ndarray]:
    """Key → float32 [n] at 16 kHz. ArlError for a clip that cannot be read."""
    waves: dict[str, np.ndarray] = {}
    for shard in expand(shards):
        for clip in load_shard(read_shard(shard), SAMPLE_RATE):
            if clip.error:
                raise ArlError(f"{clip.where}: {clip.error}")
            waves[clip.key] = clip.wave
    return waves


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"whisper_texts: {error}")
