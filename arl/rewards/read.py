"""Rollout shards → what reward programs see."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arl.errors import ArlError
from arl.rewards.programs.utterance import Hypothesis, Utterance
from arl.runtime.budget import FailureBudget
from arl.shards.columns import AUDIO, META, ROLLOUT
from arl.shards.lineage import read_with_references
from arl.shards.place import Clip
from arl.shards.reader import Sample

WAVE = re.compile(r"(\d+)\.(?:wav|flac|mp3)")  # the member of hypothesis 3 is 03.flac


@dataclass(frozen=True)
class Job:
    """One shard to score: the joined input shards, and the shard that has the references if none of them does."""

    inputs: Sequence[Path]
    references: Path | None

    @property
    def all_inputs(self) -> list[Path]:
        return [*self.inputs, *([self.references] if self.references else [])]


def utterances(jobs: Sequence[Job], budget: FailureBudget) -> Iterator[tuple[tuple[int, str, int], Utterance | None]]:
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


def hypotheses_of(sample: Sample) -> list[Hypothesis]:
    """The group in `rollout.json`, with the waveforms of `decode` where they are joined. ArlError when malformed."""
    waves: dict[int, Clip] = {}
    for extension, (path, offset, size) in sample.offsets.items():
        if found := WAVE.fullmatch(extension):
            waves[int(found[1])] = Clip(str(path.resolve()), offset, size)
    rollout = sample.json(ROLLOUT)
    try:
        return [
            Hypothesis(hyp["text"], hyp["tokens"], hyp["finish"], math.fsum(hyp["logprobs"]), waves.get(i))
            for i, hyp in enumerate(rollout["hyps"])
        ]
    except (KeyError, TypeError) as error:
        raise ArlError(f"{sample.where}: {ROLLOUT} is malformed ({error!r}); `arl check` says more") from error


def utterance_of(sample: Sample, hyps: list[Hypothesis]) -> Utterance:
    """What the programs see of a sample. ArlError when it has no reference text."""
    meta = sample.json(META)
    if not isinstance(meta, dict) or not isinstance(meta.get("text"), str):
        raise ArlError(f"{sample.where}: {META} has no text, so there is no reference to score against")
    lang, keywords = meta.get("lang") or "", meta.get("keywords") or []
    if not isinstance(lang, str) or not isinstance(keywords, list) or not all(isinstance(k, str) for k in keywords):
        raise ArlError(f"{sample.where}: {META}: 'lang' must be a string and 'keywords' a list of strings")
    rest = {name: value for name, value in meta.items() if name not in ("text", "lang", "keywords")}
    place = next((sample.offsets[name] for name in AUDIO if name in sample.offsets), None)
    audio = Clip(str(place[0].resolve()), *place[1:]) if place else None
    return Utterance(sample.key, meta["text"], lang, hyps, keywords, rest, audio)
