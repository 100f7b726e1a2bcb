"""The kinds of evaluation, and which one a command line, a policy or a folder means.

Recognition needs embeddings (or transcripts); synthesis needs rollouts of acoustic tokens, and their waveforms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from arl.errors import UsageError
from arl.evaluation.folder import first_row
from arl.evaluation.kind import Kind
from arl.evaluation.options import EvalOptions, RecognitionOptions, SynthesisOptions
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.synthesis.kind import SYNTHESIS
from arl.policy import Policy
from arl.rewards.reading import WAVE
from arl.runtime.stage import policy_of_embeddings
from arl.shards.columns import EMB, NO_WAVE, ROLLOUT
from arl.shards.paths import joined_shards
from arl.shards.reader import scan_shard

KINDS: dict[str, Kind] = {kind.name: kind for kind in (RECOGNITION, SYNTHESIS)}
OWN_FLAGS = {
    RECOGNITION.name: {field.name for field in fields(RecognitionOptions)},
    SYNTHESIS.name: {field.name for field in fields(SynthesisOptions)},
}


def kind_of(options: EvalOptions) -> Kind:
    """What is to be evaluated. UsageError where policy and shards contradict each other, or a flag does not fit."""
    kind = KINDS[options.kind or asked(options)]
    for other, flags in OWN_FLAGS.items():
        if other != kind.name and (wrong := sorted(flags & options.given)):
            flag = wrong[0].replace("_", "-")
            raise UsageError(f"--{flag} is for {other}; this is an evaluation of {kind.name}")
    return kind


def asked(options: EvalOptions) -> str:
    """The kind that shards and policy tell."""
    if options.recognition.transcripts:
        return RECOGNITION.name
    has_speech = holds_speech(options.sets)
    if has_speech and options.policy is None:
        return SYNTHESIS.name
    policy = Policy.open(options.policy or policy_of_embeddings(options.sources))
    if policy.is_tts and not has_speech:
        raise UsageError(
            f"{policy.path} synthesises, and these shards have no rollouts: `arl rollout` and `arl decode` make the "
            "speech, then: arl eval --shards texts/ --shards rollout/ --shards wav/"
        )
    if has_speech and not policy.is_tts:
        raise UsageError(f"{policy.path} recognises, and these shards are synthesised speech; leave --policy out")
    return SYNTHESIS.name if policy.is_tts else RECOGNITION.name


def holds_speech(sets: Mapping[str, Sequence[str]]) -> bool:
    """Whether the first sample of the first set has waveforms of hypotheses, or rollouts of acoustic tokens: those
    that come without audio embeddings. Reads headers only."""
    columns: set[str] = set()
    for _, paths in joined_shards(next(iter(sets.values()))):
        for path in paths:
            if (sample := next(scan_shard(path, lambda extension: False), None)) is not None:
                columns |= sample.offsets.keys()
        break
    has_waves = NO_WAVE in columns or any(WAVE.fullmatch(name) for name in columns)
    return has_waves or (ROLLOUT in columns and EMB not in columns)


def kind_of_folder(folder: Path) -> Kind:
    """The kind of a finished evaluation, by what its rows have."""
    return SYNTHESIS if "hyps" in first_row(folder) else RECOGNITION
