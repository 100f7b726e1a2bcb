"""A shard of acoustic hypotheses → waveforms, in batches of similar length, by any family's synthesiser.

Equal hypotheses of a group are decoded once. Left out: the models (each family's decode.py), the order of the shards
(decode_stage.py).
"""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from arl.audio.clips import length_batches
from arl.audio.io import encode_flac
from arl.errors import ArlError
from arl.models import Synthesiser
from arl.models.codes import codes_of, frames_of
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.console import Progress
from arl.shards.columns import PROMPT, ROLLOUT
from arl.shards.reader import Sample
from arl.shards.rows import NoWave, Prompt, Rollout

STRETCH = 1.125  # a batch's longest clip over its shortest: bounds the padding, whatever the lengths are
MOST_PROBLEMS = 5  # of a malformed row that are named


Codes: TypeAlias = list[Any]  # of a hypothesis: a code each, or the tuple of a frame's codes


@dataclass(frozen=True)
class AcousticGroup:
    """One utterance's hypotheses as codes, [G] lists, and its voice. error: why there are none; failed: whether this
    stage is the first that failed."""

    key: str
    where: str
    codes: list[Codes] = field(default_factory=list)
    voice: str = ""
    error: str = ""
    failed: bool = False


def read_groups(samples: Iterable[Sample], policy: Policy) -> list[AcousticGroup]:
    """The groups of a shard, done ahead of the device's work. ArlError where rollouts or prompts are not joined."""
    return [group_of(sample, policy) for sample in samples]


def group_of(sample: Sample, policy: Policy) -> AcousticGroup:
    """A sample's group; one that is malformed, or that the stages before could not do, has its error."""
    for member, folder in ((ROLLOUT, "the rollouts"), (PROMPT, "the prompts (arl encode)")):
        if member not in sample.members:
            there = ", ".join(sample.members)
            raise ArlError(f"{sample.where}: no {member}, only {there}; join the folder with {folder}: --shards")
    fields, prompt = sample.json(ROLLOUT), Prompt.of(sample)
    if problems := "; ".join(islice(Rollout.problems(fields), MOST_PROBLEMS)):
        return AcousticGroup(sample.key, sample.where, error=f"{ROLLOUT} is malformed ({problems})", failed=True)
    hyps = Rollout.read(fields).hyps
    if not hyps:
        return AcousticGroup(sample.key, sample.where, error=prompt.error or "no hypotheses")
    if prompt.voice is None:
        raise ArlError(f"{sample.where}: {PROMPT} names no voice; encode the texts with this policy")
    own = policy.acoustic
    is_plain = policy.predictor_dir is None
    codes: list[Codes] = [codes_of(hyp.tokens, *own) if is_plain else frames_of(hyp, *own) for hyp in hyps]
    return AcousticGroup(sample.key, sample.where, codes, prompt.voice)


@dataclass
class DistinctClip:
    """Codes to decode, and which hypotheses of the group `key` have them."""

    key: str
    voice: str
    codes: Codes
    numbers: list[int] = field(default_factory=list)


@dataclass
class Decoded:
    """A shard's waves as FLAC by (key, hypothesis), None where the synthesiser gave NaN or infinite samples."""

    waves: dict[tuple[str, int], Future[bytes] | None] = field(default_factory=dict)
    audio_s: float = 0.0
    silent: int = 0  # hypotheses without an acoustic token
    repeated: int = 0  # hypotheses equal to another of their group
    batches: int = 0
    computed: int = 0  # codes, padding included
    padding: int = 0

    def add(self, clip: DistinctClip, data: Future[bytes] | None, seconds: float) -> None:
        """A wave of a clip; data: its FLAC, None where the samples are not finite."""
        n = len(clip.numbers)
        self.waves |= {(clip.key, number): data for number in clip.numbers}
        self.audio_s += seconds * n if data else 0.0
        if clip.codes:
            self.repeated += n - 1
        else:
            self.silent += n

    def count_batch(self, lengths: Sequence[int]) -> None:
        """lengths: codes of the clips, ascending."""
        self.batches += bool(lengths[-1])
        self.computed += lengths[-1] * len(lengths)
        self.padding += sum(lengths[-1] - length for length in lengths)

    def figures(self) -> dict[str, Any]:
        share = round(self.padding / max(1, self.computed), 4)
        return {"padding": share, "batches": self.batches, "silent": self.silent, "repeated": self.repeated}


def decode_groups(
    groups: Sequence[AcousticGroup], synthesiser: Synthesiser, seed: int, batch_s: float, most: int, bar: Progress
) -> Decoded:
    """All waves of a shard, written as FLAC by threads while the device goes on. A batch has batch_s seconds, padding
    included, of at most so many clips (0: any number).

    The random numbers of a hypothesis are named by the seed and the key: all of a group begin from the same.
    """
    clips, result = distinct_clips(groups, synthesiser.voices), Decoded()
    rate, token_rate_hz = synthesiser.sample_rate, synthesiser.token_rate_hz
    silence = np.zeros(round(rate / token_rate_hz), dtype=np.float32)
    with ThreadPoolExecutor(2, thread_name_prefix="flac") as threads:
        lengths = {name: len(clip.codes) for name, clip in clips.items()}
        for batch in length_batches(lengths, batch_s * token_rate_hz, STRETCH, most):
            chosen = [clips[name] for name in batch]
            if chosen[0].codes:
                noises = [f"{seed}/{clip.key}" for clip in chosen]
                made = synthesiser.decode([clip.codes for clip in chosen], [clip.voice for clip in chosen], noises)
                waves = [np.asarray(wave) for wave in made]
            else:
                waves = [silence] * len(chosen)
            for clip, wave in zip(chosen, waves, strict=True):
                good = bool(np.isfinite(wave).all())
                data = threads.submit(encode_flac, wave, rate) if good else None
                result.add(clip, data, len(wave) / rate)
            result.count_batch([len(clip.codes) for clip in chosen])
            bar.advance(sum(len(clip.numbers) for clip in chosen))
    return result


def distinct_clips(groups: Sequence[AcousticGroup], voices: Collection[str]) -> dict[str, DistinctClip]:
    """The distinct hypotheses of a shard by a name. ArlError for a voice that the policy does not have."""
    clips: dict[tuple[str, tuple[Any, ...]], DistinctClip] = {}
    for group in groups:
        if group.codes and group.voice not in voices:
            known = ", ".join(voices) or "none"
            raise ArlError(f"{group.where}: voice {group.voice!r} is not one of this policy ({known}): encode again")
        for number, codes in enumerate(group.codes):
            clip = clips.setdefault((group.key, tuple(codes)), DistinctClip(group.key, group.voice, codes))
            clip.numbers.append(number)
    return {f"{clip.key}.{clip.numbers[0]:06d}": clip for clip in clips.values()}


def members_of(group: AcousticGroup, decoded: Decoded, budget: FailureBudget) -> dict[str, bytes]:
    """The members of a row. What failed here is counted; a row without a wave says why, so that it is one."""
    if group.failed:
        budget.spend(f"{group.where}: {group.error}")
    waves = {number: decoded.waves[group.key, number] for number in range(len(group.codes))}
    for number, wave in waves.items():
        if wave is None:
            budget.spend(f"{group.where}: hypothesis {number}: the decoder gave NaN or infinite samples")
    members = {f"{number:02d}.flac": wave.result() for number, wave in waves.items() if wave is not None}
    return members or NoWave(group.error or "no finite samples").members()
