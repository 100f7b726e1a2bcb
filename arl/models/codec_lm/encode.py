"""`arl encode`: a text in the checkpoint's own prompt, as token ids, and a voice that its speech continues.

A sample with a recording gets `.codes.json` too, by the codec: the levels' codes in the LM's order (`Frame`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from arl.audio.clips import LoadedClip, load_shard
from arl.errors import ArlError
from arl.models import resident
from arl.models.codec_lm.codecs import CODECS, CodecFacts
from arl.models.codec_lm.frame import Frame
from arl.models.codec_lm.voices import NO_VOICE, chosen, load_voices
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Codes, Meta, Prompt

if TYPE_CHECKING:
    from arl.models.codec_lm.family import CodecLm

Row = tuple[str, dict[str, bytes], float]


@dataclass(frozen=True)
class Texts:
    """A shard: its samples, and the clips of those that have a recording, by key."""

    samples: list[Sample]
    clips: dict[str, LoadedClip]


class TextEncoding:
    """An `Encoder` (arl/models/). The codec comes to the device with the first recording."""

    def __init__(self, family: "CodecLm", policy: Policy, device: Any) -> None:
        self.family, self.policy, self.device = family, policy, device
        self.model: Any = None
        self.codec, self.folder = CODECS[family.codec], policy.frontend_dir
        self.tokenizer, self.longest = load_tokenizer(policy.llm_dir), policy.given("longest")
        self.template, self.language = policy.given("prompt_template"), policy.fields.get("language", "")
        self.voices, self.asked = load_voices(self.folder), policy.fields.get("voice")
        chosen(self.voices, self.asked, "")

    @cached_property
    def facts(self) -> CodecFacts:
        """Only where there are recordings: it takes a heavy package to read."""
        return self.codec.facts(self.folder)

    def read(self, samples: Iterable[Sample]) -> Texts:
        found = list(samples)
        spoken = [sample for sample in found if any(kind in sample.members for kind in columns.AUDIO)]
        clips = load_shard(spoken, self.facts.heard_rate) if spoken else []
        return Texts(found, {clip.key: clip for clip in clips})

    def encode(self, shard: Texts, batch_s: float, budget: FailureBudget) -> Iterator[Row]:
        """batch_s means nothing here: each recording goes alone."""
        for sample in shard.samples:
            clip = shard.clips.get(sample.key)
            try:
                members = self.prompt(sample).members() | (self.heard(clip) if clip else {})
            except ArlError as error:
                budget.spend(f"{sample.where}: {error}")
                members = Prompt.failed(str(error)).members()
            yield sample.key, members, len(clip.wave) / self.facts.heard_rate if clip and not clip.error else 0.0

    def prompt(self, sample: Sample) -> Prompt:
        """The row of a text. ArlError where there is none, or it is longer than a response may be."""
        fields = sample.json(columns.META)
        for problem in Meta.problems(fields):
            raise ArlError(f"{columns.META}: {problem}")
        meta = Meta.read(fields)
        if not meta.text.strip():
            raise ArlError("the text is empty")
        voice, words = (
            chosen(self.voices, self.asked, meta.speaker),
            self.family.words(meta.text.strip(), self.language),
        )
        written = self.family.prompt(self.template, words, voice)
        ids = self.tokenizer.encode(written, add_special_tokens=False).ids
        if len(ids) >= self.longest:
            raise ArlError(
                f"its prompt has {len(ids)} tokens, and the model's longest is {self.longest} with the speech"
            )
        return Prompt(ids, self.longest - len(ids), NO_VOICE if voice is None else voice.name)

    @torch.no_grad()
    def heard(self, clip: LoadedClip) -> dict[str, bytes]:
        """`.codes.json` of a recording. ArlError where it cannot be read."""
        if clip.error:
            raise ArlError(clip.error)
        if self.model is None:
            self.model = resident.wake(self.folder, self.codec.load, self.device)
        levels = self.family.levels
        frame = Frame(levels, self.policy.acoustic[1] // len(levels), self.facts.size)
        numbers = frame.numbers(self.codec.codes(self.model, self.folder, clip.wave))
        return Codes(numbers, self.policy.given("token_rate_hz")).members()

    def sleep(self) -> None:
        if self.model is not None:
            resident.sleep(self.model, self.folder)
