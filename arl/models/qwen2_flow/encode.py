"""`arl encode` with a synthesis policy: texts → prompts, and recordings → the codes of its speech tokenizer.

A shard's samples have a text, and for training the LM or the token recogniser a recording of it as well. Every
sample gets `.prompt.json`: the LM's token ids, the longest response in tokens, and the voice (the sample's "speaker"
where the policy has a voice of that name, else the policy's first). Those with a recording get `.codes.json`, too.
Left out: a prompt recording per sample; voices belong to the policy.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from arl.audio.clips import LoadedClip, length_batches, load_shard
from arl.errors import ArlError, UsageError
from arl.models import resident
from arl.models.qwen2_flow import codec
from arl.models.qwen2_flow.codec import Codec
from arl.models.qwen2_flow.mel import log_mel
from arl.models.qwen2_flow.prompts import Voice, load_voices, longest_response, prompt_of
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Codes, Meta, Prompt

Row = tuple[str, dict[str, bytes], float]


@dataclass(frozen=True)
class Texts:
    """A shard: its samples, and the clips of those that have a recording, by key."""

    samples: list[Sample]
    clips: dict[str, LoadedClip]


class TextEncoding:
    """An `Encoder` (arl/models/). The speech tokenizer is loaded at the first recording: texts alone need none."""

    def __init__(self, policy: Policy, device: Any) -> None:
        self.policy, self.device = policy, device
        self.voices = only(load_voices(policy.frontend_dir), policy.fields.get("voice"))
        self.sample_rate: int = policy.given("sample_rate")
        self.loaded: Codec | None = None

    def read(self, samples: Iterable[Sample]) -> Texts:
        found = list(samples)
        spoken = [sample for sample in found if any(kind in sample.members for kind in columns.AUDIO)]
        return Texts(found, {clip.key: clip for clip in load_shard(spoken, self.sample_rate)})

    def encode(self, shard: Texts, batch_s: float, budget: FailureBudget) -> Iterator[Row]:
        codes = self.codes({key: clip.wave for key, clip in shard.clips.items() if not clip.error}, batch_s)
        for sample in shard.samples:
            members = prompt_row(sample, self.voices, self.policy, budget).members()
            clip, seconds = shard.clips.get(sample.key), 0.0
            if clip and clip.error:
                budget.spend(f"{clip.where}: {clip.error}")
            elif clip:
                members |= Codes(codes[sample.key], self.policy.given("token_rate_hz")).members()
                seconds = len(clip.wave) / self.sample_rate
            yield sample.key, members, seconds

    def codes(self, waves: Mapping[str, Any], batch_s: float) -> dict[str, list[int]]:
        """By key the codes of recordings float32 [n], in batches of similar lengths."""
        found: dict[str, list[int]] = {}
        for batch in length_batches({key: len(wave) / self.sample_rate for key, wave in waves.items()}, batch_s):
            mels = [log_mel(torch.from_numpy(waves[key])) for key in batch]
            found |= {key: row.tolist() for key, row in zip(batch, self.tokenizer().encode(mels), strict=True)}
        return found

    def tokenizer(self) -> Codec:
        """The speech tokenizer on the device."""
        if self.loaded is None:
            self.loaded = resident.wake(self.policy.frontend_dir, codec.load, self.device)
        return self.loaded

    def sleep(self) -> None:
        if self.loaded is not None:
            resident.sleep(self.loaded, self.policy.frontend_dir)


def only(voices: Mapping[str, Voice], asked: str | None) -> Mapping[str, Voice]:
    """The voices that are chosen from: all, or the one of `arl encode --voice`. UsageError where there is none such."""
    if asked is not None and asked not in voices:
        raise UsageError(f"--voice {asked}: the policy has {', '.join(voices)}")
    return voices if asked is None else {asked: voices[asked]}


def prompt_row(sample: Sample, voices: Mapping[str, Voice], policy: Policy, budget: FailureBudget) -> Prompt:
    """The row of a text; without ids and with an error where it cannot be spoken."""
    fields = sample.json(columns.META)
    try:
        for problem in Meta.problems(fields):
            raise ArlError(f"{columns.META}: {problem}")
        meta = Meta.read(fields)
        voice = voices.get(meta.speaker, next(iter(voices.values())))
        longest = longest_response(meta.text, policy.given("longest_per_character"))
        return Prompt(prompt_of(meta.text, voice), longest, voice.name)
    except ArlError as error:
        budget.spend(f"{sample.where}: {error}")
        return Prompt.failed(str(error))
