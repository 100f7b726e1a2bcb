"""A shard of clips → its embeddings and prompts."""

from collections.abc import Iterator, Sequence
from typing import Any

from arl.audio.clips import Clip, length_buckets
from arl.runtime.budget import FailureBudget
from arl.shards import columns


def encode_shard(
    clips: Sequence[Clip], frontend: Any, prompt: list[int], features: bool, batch_s: float, budget: FailureBudget
) -> Iterator[tuple[str, dict[str, bytes], float]]:
    """Yields (key, members, seconds) in the clips' order; batches are formed over the shard by length."""
    for clip in clips:
        if clip.error:
            budget.spend(f"{clip.where}: {clip.error}")
    waves = {clip.key: clip.wave for clip in clips if not clip.error}
    encoded: dict[str, Any] = {}
    for batch in length_buckets({key: len(wave) / frontend.sample_rate for key, wave in waves.items()}, batch_s):
        outputs = frontend.features([waves[key] for key in batch])
        if not features:
            outputs = frontend.project(outputs)
        encoded.update(zip(batch, outputs, strict=True))
    for clip in clips:
        if clip.error:
            yield clip.key, {columns.PROMPT: columns.dumps({"input_ids": [], "error": clip.error})}, 0.0
        else:
            yield clip.key, members_of(encoded[clip.key], prompt, features), len(clip.wave) / frontend.sample_rate


def members_of(output: Any, prompt: list[int], features: bool) -> dict[str, bytes]:
    """The members of an encoded utterance."""
    member, name = (columns.FEAT, "feat") if features else (columns.EMB, columns.EMB_TENSOR)
    return {member: columns.save_tensor(name, output), columns.PROMPT: columns.dumps({"input_ids": prompt})}
