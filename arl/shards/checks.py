"""What each column of a sample must hold, beyond being there whole: `arl check` prints these problems.

A check looks only at the members that are present; where two columns are joined they must agree. Left out: what
needs the policy (placeholder ids, token ids within the vocabulary), which the stages check.

    for problem in shard_problems([Path("rollout/000003.tar"), Path("reward/000003.tar")]): ...
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from arl.errors import ArlError
from arl.shards.columns import (
    AUDIO,
    CODES,
    EMB,
    EMB_TENSOR,
    FEAT,
    META,
    NO_WAVE,
    PROMPT,
    REWARD,
    ROLLOUT,
    read_tensor,
    tensor_headers,
)
from arl.shards.reader import Sample, read_joined

WAVE = re.compile(rf"(?:(\d+)\.)?({'|'.join(AUDIO)})")
FINISH = ("stop", "length")


def shard_problems(shards: Sequence[Path]) -> Iterator[str]:
    """One line a problem of the joined shards, none for good ones; a shard that is not whole ends the list."""
    try:
        for sample in read_joined(shards):
            for problem in sample_problems(sample):
                yield f"{sample.where}: {problem}"
    except ArlError as error:
        yield str(error)


def sample_problems(sample: Sample) -> Iterator[str]:
    """What is wrong with the columns of one sample, in the order of its members."""
    for extension in sample.members:
        check = CHECKS.get(extension, _wave if WAVE.fullmatch(extension) else _any)
        try:
            for problem in check(sample, extension):
                yield f"{extension}: {problem}"
        except ArlError as error:
            yield str(error).removeprefix(f"{sample.where}: ")


def is_number(value: Any) -> TypeGuard[float]:
    """An int or a finite float; bool is none."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(token) is int and token >= 0 for token in value)


def _fields(sample: Sample, extension: str) -> dict[str, Any]:
    value = sample.json(extension)
    if not isinstance(value, dict):
        raise ArlError(f"{extension}: not a JSON object")
    return value


def _any(sample: Sample, extension: str) -> Iterator[str]:
    if extension.endswith(".json"):
        sample.json(extension)
    if extension.endswith(".safetensors"):
        tensor_headers(sample, extension)
    yield from ()


def _meta(sample: Sample, extension: str) -> Iterator[str]:
    fields = _fields(sample, extension)
    for name in ("text", "lang"):
        if not isinstance(fields.get(name), str):
            yield f"{name!r} is missing, or is not a text"
    duration = fields.get("duration_s")
    if duration is None and any(name in sample.members for name in AUDIO):
        yield "'duration_s' is missing beside the audio"
    elif duration is not None and not (is_number(duration) and duration >= 0):
        yield f"'duration_s' is {duration!r}, not a number of seconds"
    if not isinstance(fields.get("speaker", ""), str):
        yield "'speaker' is not a text"
    keywords = fields.get("keywords", [])
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
        yield "'keywords' is not a list of texts"


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


def _no_wave(sample: Sample, extension: str) -> Iterator[str]:
    if not isinstance(_fields(sample, extension).get("error"), str):
        yield "'error' is missing, or is not a text"


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

    for name in tensor_headers(sample, extension):
        array = read_tensor(sample, extension, name)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            yield f"NaN or infinite values in {name!r}"


def _prompt(sample: Sample, extension: str) -> Iterator[str]:
    fields = _fields(sample, extension)
    ids = fields.get("input_ids")
    if not _is_ids(ids) or not (ids or fields.get("error")):  # a clip that could not be encoded keeps its row
        yield "'input_ids' is not a list of token ids"
    longest = fields.get("max_new_tokens", 1)
    if type(longest) is not int or longest < 1:
        yield f"'max_new_tokens' is {longest!r}, not a number of tokens"


def _codes(sample: Sample, extension: str) -> Iterator[str]:
    fields = _fields(sample, extension)
    if not _is_ids(fields.get("codes")):
        yield "'codes' is not a list of codes"
    rate = fields.get("rate_hz")
    if not is_number(rate) or rate <= 0:
        yield f"'rate_hz' is {rate!r}, not a number of codes a second"


def _hyps(sample: Sample) -> list[Any]:
    hyps = _fields(sample, ROLLOUT).get("hyps")
    return hyps if isinstance(hyps, list) else []


def _rollout(sample: Sample, extension: str) -> Iterator[str]:
    fields = _fields(sample, extension)
    if not isinstance(fields.get("policy"), str) or not fields["policy"]:
        yield "'policy' does not name a version"
    temperature = fields.get("temperature")
    if not is_number(temperature) or temperature < 0:
        yield f"'temperature' is {temperature!r}"
    if not isinstance(fields.get("hyps"), list):  # an empty list is an utterance that failed
        yield "'hyps' is not a list of hypotheses"
    for number, hyp in enumerate(_hyps(sample)):
        for problem in _hyp(hyp):
            yield f"hyps[{number}]: {problem}"


def _hyp(hyp: Any) -> Iterator[str]:
    if not isinstance(hyp, dict):
        yield "not an object"
        return
    if not isinstance(hyp.get("text"), str):
        yield "'text' is missing, or is not a text"
    tokens, logprobs = hyp.get("tokens"), hyp.get("logprobs")
    if not _is_ids(tokens):
        yield "'tokens' is not a list of token ids"
    if not isinstance(logprobs, list) or not all(map(is_number, logprobs)):
        yield "'logprobs' is not a list of numbers"
    elif isinstance(tokens, list) and len(tokens) != len(logprobs):
        yield f"{len(tokens)} tokens, but {len(logprobs)} logprobs"
    if hyp.get("finish") not in FINISH:
        yield f"'finish' is {hyp.get('finish')!r}, not 'stop' or 'length'"


def _reward(sample: Sample, extension: str) -> Iterator[str]:
    fields = _fields(sample, extension)
    components = fields.get("components")
    if not isinstance(components, dict):
        yield "'components' is not an object"
        components = {}
    lists = {name: fields.get(name) for name in ("rewards", "advantages")}
    lists |= {f"components.{name}": values for name, values in components.items()}
    size = len(_hyps(sample)) if ROLLOUT in sample.members else None
    for name, values in lists.items():
        if not isinstance(values, list) or not all(value is None or is_number(value) for value in values):
            yield f"{name!r} is not a list of numbers or nulls"
        elif size is None:
            size = len(values)
        elif len(values) != size:
            yield f"{name!r} has {len(values)} entries for {size} hypotheses"
    rewards, advantages = lists["rewards"], lists["advantages"]
    if isinstance(rewards, list) and isinstance(advantages, list):
        for number, (reward, advantage) in enumerate(zip(rewards, advantages, strict=False)):
            if (reward is None) != (advantage is None):
                yield f"hypothesis {number} is excluded in one of 'rewards' and 'advantages' only"


CHECKS: dict[str, Callable[[Sample, str], Iterator[str]]] = {
    META: _meta,
    EMB: _emb,
    PROMPT: _prompt,
    FEAT: _feat,
    CODES: _codes,
    ROLLOUT: _rollout,
    NO_WAVE: _no_wave,
    REWARD: _reward,
}
