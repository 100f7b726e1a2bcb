"""A shard of clips → its embeddings and prompts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arl.audio.clips import LoadedClip, length_batches, load_shard
from arl.models import resident
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Prompt


class ProjectedEncoding:
    """An `Encoder` (arl/models/): clips → `.emb.safetensors` [T, H], or `.feat.safetensors` [T, D] where `features`.

    load: a folder → its frontend, whose `features` and `project` take a batch of clips.
    """

    def __init__(self, policy: Policy, device: Any, features: bool, load: Callable[[Path], Any]) -> None:
        self.policy, self.features = policy, features
        self.frontend = resident.wake(policy.frontend_dir, load, device)

    def read(self, samples: Iterable[Sample]) -> list[LoadedClip]:
        return load_shard(samples, self.frontend.sample_rate)

    def encode(
        self, clips: Sequence[LoadedClip], batch_s: float, budget: FailureBudget
    ) -> Iterator[tuple[str, dict[str, bytes], float]]:
        return encode_shard(clips, self.frontend, self.policy.prompt, self.features, batch_s, budget)

    def sleep(self) -> None:
        resident.sleep(self.frontend, self.policy.frontend_dir)


def encode_shard(
    clips: Sequence[LoadedClip], frontend: Any, prompt: list[int], features: bool, batch_s: float, budget: FailureBudget
) -> Iterator[tuple[str, dict[str, bytes], float]]:
    """Yields (key, members, seconds) in the clips' order; batches are formed over the shard by length."""
    for clip in clips:
        if clip.error:
            budget.spend(f"{clip.where}: {clip.error}")
    waves = {clip.key: clip.wave for clip in clips if not clip.error}
    encoded: dict[str, Any] = {}
    for batch in length_batches({key: len(wave) / frontend.sample_rate for key, wave in waves.items()}, batch_s):
        outputs = frontend.features([waves[key] for key in batch])
        if not features:
            outputs = frontend.project(outputs)
        encoded.update(zip(batch, outputs, strict=True))
    for clip in clips:
        if clip.error:
            yield clip.key, Prompt.failed(clip.error).members(), 0.0
        else:
            yield clip.key, members_of(encoded[clip.key], prompt, features), len(clip.wave) / frontend.sample_rate


def members_of(output: Any, prompt: list[int], features: bool) -> dict[str, bytes]:
    """The members of an encoded utterance."""
    member, name = (columns.FEAT, "feat") if features else (columns.EMB, columns.EMB_TENSOR)
    return {member: columns.save_tensor(name, output)} | Prompt(prompt).members()
