"""A shard of clips → embeddings and prompts, one clip at a time.

In most of the families' own towers a batch does not give what its clips give alone, so none is made.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arl.audio.clips import LoadedClip, load_shard
from arl.errors import ArlError
from arl.models import resident
from arl.models.speech_lm import tower
from arl.models.speech_lm.build import CHECKPOINT
from arl.models.speech_lm.prompt import ask_of, collapse
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.device import quiet_transformers
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Prompt

if TYPE_CHECKING:
    from arl.models.speech_lm.family import SpeechLm


@dataclass(frozen=True)
class Utterance:
    """A clip as its processor gives it. inputs: of the family's class, empty where error says why; before: what the
    model writes in front of a transcript."""

    key: str
    where: str
    duration_s: float = 0.0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    before: str | None = None


class SpeechLmEncoding:
    """An `Encoder` (arl/models/)."""

    def __init__(self, family: "SpeechLm", policy: Policy, device: Any) -> None:
        quiet_transformers()
        self.family, self.policy = family, policy
        self.processor = family.load_processor(policy.frontend_dir / CHECKPOINT)
        self.fields = family.fields(policy.frontend_dir / CHECKPOINT)
        self.tower = resident.wake(policy.frontend_dir, lambda folder: tower.load_tower(family, folder), device)

    def read(self, samples: Iterable[Sample]) -> list[Utterance]:
        """Features and prompt ids, by the family's own processor."""
        rows = list(samples)
        clips = load_shard(rows, self.policy.given("sample_rate"))
        return [self._prepare(clip, sample) for clip, sample in zip(clips, rows, strict=True)]

    def encode(
        self, shard: Sequence[Utterance], batch_s: float, budget: FailureBudget
    ) -> Iterator[tuple[str, dict[str, bytes], float]]:
        """batch_s means nothing here: each clip goes alone."""
        for utterance in shard:
            try:
                if utterance.error:
                    raise ArlError(utterance.error)
                yield utterance.key, self._members(utterance), utterance.duration_s
            except ArlError as error:
                budget.spend(f"{utterance.where}: {error}")
                yield utterance.key, Prompt.failed(str(error)).members(), 0.0

    def sleep(self) -> None:
        resident.sleep(self.tower, self.policy.frontend_dir)

    def _prepare(self, clip: LoadedClip, sample: Sample) -> Utterance:
        if clip.error:
            return Utterance(clip.key, clip.where, error=clip.error)
        duration_s = len(clip.wave) / self.policy.given("sample_rate")
        longest_s = self.policy.given("longest_s")
        if duration_s > longest_s:
            error = f"{duration_s:.1f} s long, and {self.family.name} hears {longest_s:g} s: cut the recording"
            return Utterance(clip.key, clip.where, error=error)
        meta = sample.json(columns.META) if columns.META in sample.members else {}
        try:
            ask = ask_of(meta, self.policy.given("request"))
            inputs, before = self.family.inputs(self.processor, clip.wave, ask), self.family.before(ask)
        except ArlError as error:
            return Utterance(clip.key, clip.where, error=str(error))
        except (ValueError, KeyError, TypeError) as error:
            return Utterance(clip.key, clip.where, error=f"its processor does not take it: {error}")
        return Utterance(clip.key, clip.where, duration_s, inputs, before=before)

    def _members(self, utterance: Utterance) -> dict[str, bytes]:
        ids = collapse(utterance.inputs["input_ids"][0].tolist(), self.policy.audio_token_id)
        seed = int.from_bytes(hashlib.sha256(utterance.key.encode()).digest()[:4], "little")
        embeddings = self.tower.encode(utterance.inputs, seed)
        embeddings = embeddings[: self.family.kept(self.fields, len(embeddings))]
        length, context = len(ids) - 1 + len(embeddings), self.policy.given("context")
        if length >= context:
            raise ArlError(f"its prompt has {length} positions, and the LLM {context}: cut the recording")
        return {columns.EMB: columns.save_tensor(columns.EMB_TENSOR, embeddings)} | Prompt(
            ids, before=utterance.before
        ).members()
