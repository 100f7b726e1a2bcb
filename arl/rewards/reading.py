"""Rollout shards → what reward programs see."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arl.errors import ArlError
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.runtime.budget import FailureBudget
from arl.shards.columns import AUDIO
from arl.shards.lineage import read_with_references
from arl.shards.place import AudioSlice
from arl.shards.reader import Sample
from arl.shards.rows import Meta, Rollout

WAVE = re.compile(r"(\d+)\.(?:wav|flac|mp3)")  # the member of hypothesis 3 is 03.flac


@dataclass(frozen=True)
class RewardJob:
    """One shard to score: the joined input shards, and the shard that has the references if none of them does."""

    inputs: Sequence[Path]
    references: Path | None

    @property
    def all_inputs(self) -> list[Path]:
        return [*self.inputs, *([self.references] if self.references else [])]


def utterances(
    jobs: Sequence[RewardJob], budget: FailureBudget
) -> Iterator[tuple[tuple[int, str, int], Utterance | None]]:
    """Yields ((shard number, key, group size), utterance) of every sample; a bad sample has no utterance."""
    for number, job in enumerate(jobs):
        for sample in read_with_references(job.inputs, job.references):
            hyps = hypotheses_of(sample)
            utterance = None
            try:
                utterance = utterance_of(sample, hyps)
            except ArlError as error:
                budget.spend(str(error))
            yield (number, sample.key, len(hyps)), utterance


def hypotheses_of(sample: Sample) -> list[RewardHypothesis]:
    """The group in `rollout.json`, with the waveforms of `decode` where they are joined. ArlError when malformed."""
    waves: dict[int, AudioSlice] = {}
    for extension, (path, offset, size) in sample.offsets.items():
        if found := WAVE.fullmatch(extension):
            waves[int(found[1])] = AudioSlice(str(path.resolve()), offset, size)
    return [
        RewardHypothesis(hyp.text, hyp.tokens, hyp.finish, math.fsum(hyp.logprobs), waves.get(number))
        for number, hyp in enumerate(Rollout.of(sample).hyps)
    ]


def utterance_of(sample: Sample, hyps: list[RewardHypothesis]) -> Utterance:
    """What the programs see of a sample. ArlError when it has no reference text to score against."""
    meta = Meta.of(sample)
    place = next((sample.offsets[name] for name in AUDIO if name in sample.offsets), None)
    audio = AudioSlice(str(place[0].resolve()), *place[1:]) if place else None
    return Utterance(sample.key, meta.text, meta.lang, hyps, meta.keywords, meta.others(), audio)
