"""Shards of several kinds as one training set, each kind spread evenly over it, by links.

python examples/asr/mixed.py DATA FEATURES speeds synthetic -o mixed      # mixed/data, mixed/features
"""

from pathlib import Path
from typing import Annotated

import typer

PLACES = 10**6


def main(data: Path, features: Path, kinds: list[str], out: Annotated[Path, typer.Option("--out", "-o")]) -> None:
    for side, root in (("data", data), ("features", features)):
        (out / side).mkdir(parents=True, exist_ok=True)
        for rank, kind in enumerate(kinds):
            shards = sorted((root / kind).glob("*.tar"))
            for number, shard in enumerate(shards):
                name = f"{number * PLACES // len(shards):06d}{rank}.tar"
                (out / side / name).symlink_to(shard.resolve())


if __name__ == "__main__":
    typer.run(main)
