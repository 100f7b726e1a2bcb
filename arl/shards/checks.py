"""What each column of a sample must hold, beyond being there whole: `arl check` prints these problems.

The JSON members are checked by the records that the stages read them as (`arl.shards.rows`). A check looks
only at the members that are present; where two columns are joined they must agree. Left out: what needs the policy
(placeholder ids, token ids within the vocabulary), which the stages check.

    for problem in shard_problems([Path("rollout/000003.tar"), Path("reward/000003.tar")]): ...
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.columns import AUDIO, EMB, EMB_TENSOR, FEAT, ROLLOUT, read_tensor, tensor_headers, tensor_values
from arl.shards.look import describe
from arl.shards.reader import Sample, read_joined
from arl.shards.rows import ROWS, Meta, Reward

Listen = Callable[[bytes, str], object]
WAVE = re.compile(rf"(?:(\d+)\.)?({'|'.join(AUDIO)})")


def shard_problems(shards: Sequence[Path], listen: Listen | None = None) -> Iterator[str]:
    """One line a problem of the joined shards, none for good ones; a shard that is not whole ends the list.

    listen: decodes a waveform, which this layer cannot: given its bytes and what to call it in an ArlError.
    """
    try:
        for sample in read_joined(shards):
            for problem in sample_problems(sample, listen):
                yield f"{sample.where}: {problem}"
    except ArlError as error:
        yield str(error)


def sample_problems(sample: Sample, listen: Listen | None = None) -> Iterator[str]:
    """What is wrong with the columns of one sample, in the order of its members. listen: as in `shard_problems`."""
    for extension, data in sample.members.items():
        is_wave = WAVE.fullmatch(extension) is not None
        is_good = True
        try:
            for problem in CHECKS.get(extension, _wave if is_wave else _any)(sample, extension):
                is_good = False
                yield f"{extension}: {problem}"
            if is_wave and is_good and listen is not None:
                listen(data, f"{sample.where}: {extension}")
        except ArlError as error:
            yield str(error).removeprefix(f"{sample.where}: ")


def _any(sample: Sample, extension: str) -> Iterator[str]:
    describe(sample, extension)
    yield from ()


def _row(sample: Sample, extension: str) -> Iterator[str]:
    """What the stages would refuse, and where joined columns do not agree."""
    row, value = ROWS[extension], sample.json(extension)
    found = list(row.problems(value))
    yield from found
    if not found and row is Meta:
        yield from _meta(sample, value)
    if not found and row is Reward and ROLLOUT in sample.members:
        yield from Reward.read(value).size_problems(len(_hyps(sample)))


def _meta(sample: Sample, fields: dict[str, Any]) -> Iterator[str]:
    """What stages can do without, and the audio column should have."""
    if fields.get("lang") is None:
        yield "'lang' is missing"
    if fields.get("duration_s") is None and any(name in sample.members for name in AUDIO):
        yield "'duration_s' is missing beside the audio"


def _wave(sample: Sample, extension: str) -> Iterator[str]:
    data, kind = sample.members[extension], extension.rpartition(".")[2]
    known = {
        "wav": data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE",
        "flac": data[:4] == b"fLaC",
        "mp3": data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] >= 0xE0),
    }
    if not known[kind]:
        yield f"does not start like a {kind} file"
    number = extension.partition(".")[0]
    if number.isdecimal() and ROLLOUT in sample.members and int(number) >= len(_hyps(sample)):
        yield f"there are only {len(_hyps(sample))} hypotheses"


def _emb(sample: Sample, extension: str) -> Iterator[str]:
    import numpy as np

    array = read_tensor(sample, extension, EMB_TENSOR)
    if array.ndim != 2 or 0 in array.shape:
        yield f"shape {list(array.shape)} is not [T, H]"
    if array.dtype.kind != "f":
        yield f"{array.dtype} numbers are no embeddings"
    elif not np.isfinite(array).all():
        yield "NaN or infinite values"


def _feat(sample: Sample, extension: str) -> Iterator[str]:
    import numpy as np

    for name, tensor in tensor_headers(sample, extension).items():
        array = tensor_values(sample, extension, name, tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            yield f"NaN or infinite values in {name!r}"


def _hyps(sample: Sample) -> list[Any]:
    rollout = sample.json(ROLLOUT)
    hyps = rollout.get("hyps") if isinstance(rollout, dict) else None
    return hyps if isinstance(hyps, list) else []


CHECKS: dict[str, Callable[[Sample, str], Iterator[str]]] = {EMB: _emb, FEAT: _feat, **dict.fromkeys(ROWS, _row)}
