"""Transcripts that loop, as pseudo-labels of long audio do: what the starting policy of Table 1 is spoilt with.

    python -m examples.asr.looped runs/table1/start/audio/long --share 0.6 --seed 1 -o runs/table1/start/looped/long

For each shard one of the same name and keys, whose texts are the shard's; a share of them goes on with its last one to
four words, said again four to eight times. The shards have no audio: they are joined to the embeddings.
"""

import random
import sys
from pathlib import Path
from typing import Annotated

import typer

from arl.errors import ArlError
from arl.shards.columns import META, dumps
from arl.shards.paths import expand
from arl.shards.reader import scan_shard
from arl.shards.writer import write_shard


def looped(text: str, rng: random.Random) -> str:
    """`text`, then its last 1 to 4 words 4 to 8 times."""
    words = text.split()
    return " ".join([*words, *words[-rng.randint(1, 4) :] * rng.randint(4, 8)])


def main(
    shards: Annotated[Path, typer.Argument(help="Folder of audio shards.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the texts.")] = 0.6,
    seed: int = 0,
) -> None:
    """Copies the transcripts of the shards, a share of them with a loop at the end."""
    for path in expand([shards]):
        rows = []
        for sample in scan_shard(path, lambda extension: extension == META):
            meta, rng = sample.json(META), random.Random(f"{seed} {sample.key}")
            text = looped(meta["text"], rng) if rng.random() < share else meta["text"]
            rows.append((sample.key, {META: dumps({**meta, "text": text})}))
        write_shard(out / path.name, rows)


if __name__ == "__main__":
    try:
        typer.run(main)
    except ArlError as error:
        sys.exit(f"looped: {error}")
