"""e: shards, written as `arl encode` writes them and read back joined, against the disk's own speed.

    python -m benchmarks.shards [--quick]

Embeddings of 250 x 896 bfloat16 (10 s of speech at 25 Hz, 448 kB), 32 to a shard, with rollouts and rewards of 12
hypotheses in columns of their own. Write: safetensors, SHA-256, tar, fsync and rename, against the same number of bytes
in 1 MB blocks with an fsync. Joined read: three columns row by row with every digest checked, against reading the
same files. "Cached" is from the page cache; "from disk" after the kernel was asked to drop the files.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.command import Result, main, number, scratch, table

FRAMES, WIDTH, UTTERANCES, GROUP = 250, 896, 32, 12
BLOCK = 1 << 20


def measure_all(quick: bool) -> Result:
    # in the checkout: the system's folder for temporary files may be memory
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="shards-") as folder:
        return measure_in(Path(folder), n_shards=3 if quick else 12, repeats=2 if quick else 5)


def measure_in(folder: Path, n_shards: int, repeats: int, utterances: int = UTTERANCES) -> Result:
    """MB/s (1e6 bytes) of each side in `folder`."""
    import torch

    embeddings = [torch.randn(FRAMES, WIDTH).bfloat16() for _ in range(4)]
    emb, rollout, reward = (
        [folder / name / f"{i:06d}.tar" for i in range(n_shards)] for name in ("emb", "rollout", "reward")
    )
    write_small(rollout, reward, utterances)
    write_embeddings(emb, embeddings, utterances)
    size = sum(path.stat().st_size for path in emb)
    plain = folder / "plain"
    joined = size + sum(path.stat().st_size for path in [*rollout, *reward])
    every = [*emb, *rollout, *reward]
    write = measure.interleaved({
        "ours": rate(size, lambda: write_embeddings(emb, embeddings, utterances)),
        "disk": rate(size, lambda: write_plain(plain, size)),
    }, repeats)  # fmt: skip
    cached = measure.interleaved({
        "ours": rate(joined, lambda: read_columns(emb, rollout, reward)),
        "disk": rate(joined, lambda: read_plain(every)),
    }, repeats)  # fmt: skip
    cold = measure.interleaved({
        "ours": rate(joined, lambda: read_columns(emb, rollout, reward), before=lambda: drop(every)),
        "disk": rate(joined, lambda: read_plain(every), before=lambda: drop(every)),
    }, repeats)  # fmt: skip
    kinds = {"write": write, "joined read, cached": cached, "joined read, from disk": cold}
    return {
        "mb": joined / 1e6, "shards": n_shards, "targets": [],
        "rows": {
            name: {
                "ours_mb_s": measure.column(turns, "ours", "mb_s"), "disk_mb_s": measure.column(turns, "disk", "mb_s"),
                "ours_cpu_s": measure.column(turns, "ours", "cpu_s"),
                "share": measure.ratios(turns, "ours", "disk", "mb_s"),
            }
            for name, turns in kinds.items()
        },
    }  # fmt: skip


def rate(size: int, work: Callable[[], Any], before: Callable[[], Any] | None = None) -> Callable[[], measure.Figures]:
    """A side that says its cost and MB/s by wall time."""

    def side() -> measure.Figures:
        if before:
            before()
        figures = measure.timed(work)
        return figures | {"mb_s": size / 1e6 / figures["wall_s"]}

    return side


def write_embeddings(paths: Sequence[Path], embeddings: Sequence[Any], utterances: int) -> None:
    from arl.shards import columns
    from arl.shards.writer import ShardWriter

    for path in paths:
        with ShardWriter(path) as shard:
            for index in range(utterances):
                member = columns.save_tensor(columns.EMB_TENSOR, embeddings[index % len(embeddings)])
                prompt = columns.dumps({"input_ids": [1, 4, 3]})
                shard.write(f"utt-{index}", {columns.EMB: member, columns.PROMPT: prompt})


def write_small(rollout: Sequence[Path], reward: Sequence[Path], utterances: int) -> None:
    """The columns of 12 hypotheses of 50 tokens, about as large as real ones."""
    from arl.shards import columns
    from arl.shards.writer import write_shard

    hyp = {"text": "x" * 50, "tokens": list(range(50)), "logprobs": [-0.1234567] * 50, "finish": "stop"}
    content = columns.dumps({"policy": "000000-0", "temperature": 1.0, "hyps": [hyp] * GROUP})
    values = [0.5] * GROUP
    scores = columns.dumps({"components": {"wer": values}, "rewards": values, "advantages": values})
    for path in rollout:
        write_shard(path, [(f"utt-{i}", {columns.ROLLOUT: content}) for i in range(utterances)])
    for path in reward:
        write_shard(path, [(f"utt-{i}", {columns.REWARD: scores}) for i in range(utterances)])


def write_plain(path: Path, size: int) -> None:
    block = os.urandom(BLOCK)
    with path.open("wb", buffering=0) as stream:
        for start in range(0, size, BLOCK):
            stream.write(block[: size - start])
        os.fsync(stream.fileno())


def read_columns(*folders: Sequence[Path]) -> None:
    from arl.shards import columns
    from arl.shards.reader import read_joined

    for row in zip(*folders, strict=True):
        for sample in read_joined(row):
            columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR)


def read_plain(paths: Sequence[Path]) -> None:
    buffer = bytearray(BLOCK)
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def drop(paths: Sequence[Path]) -> None:
    """Asks the kernel to forget the files' pages; they are on disk already."""
    for path in paths:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    time.sleep(0.05)


def page(result: Result) -> str:
    rows = [
        [name, *(f"{figures[side]['median']:.0f} ({figures[side]['low']:.0f}-{figures[side]['high']:.0f})"
                 for side in ("ours_mb_s", "disk_mb_s")),
         f"{figures['share']['median']:.2f}", number(figures["ours_cpu_s"]["median"])]
        for name, figures in result["rows"].items()
    ]  # fmt: skip
    head = ["", "shards, MB/s", "plain file, MB/s", "share", "CPU, s"]
    size = f"{result['shards']} shards, {result['mb']:.0f} MB."
    return "\n\n".join(["## e: shards", __doc__.split("\n\n")[2].strip(), size, table(head, rows)])


if __name__ == "__main__":
    main(measure_all, page)
