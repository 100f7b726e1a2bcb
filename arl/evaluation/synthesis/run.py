"""Rows of an evaluation from waveforms, and what is written for people: samples/NNN.flac and `report.md`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arl.audio.io import encode_flac
from arl.audio.waves import read_waves
from arl.evaluation.options import EvalOptions, Measured
from arl.evaluation.sets import read_sets
from arl.evaluation.synthesis.measure import row_of
from arl.rewards.programs.utterance import Utterance
from arl.rewards.reading import hypotheses_of, utterance_of
from arl.runtime.device import pick_device
from arl.shards.columns import PROMPT
from arl.shards.rows import Prompt

SAMPLES = "samples"


def measure(options: EvalOptions, out: Path) -> Measured:
    """A row per utterance of all sets; the first hypotheses of the first ones are written to out/samples/."""
    from arl.evaluation.synthesis.listeners import listeners_of  # imports torch

    own = options.synthesis
    listeners = listeners_of(own, str(pick_device(own.device, own.threads)))
    rows: list[dict[str, Any]] = []
    written = 0
    for name, utterance in read_utterances(options.sets):
        waves = read_waves(utterance.hyps, "eval")
        row = ({"set": name} if name else {}) | row_of(utterance, waves, listeners)
        written += write_sample(out, row, waves, written, own.samples)
        rows.append(row)
    return Measured(rows)


def read_utterances(sets: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Utterance]]:
    """(set, utterance) of the joined shards with its hypotheses; meta has "voice" where a prompt names it."""
    for name, sample in read_sets(sets):
        utterance = utterance_of(sample, hypotheses_of(sample))
        if PROMPT in sample.members and (voice := Prompt.of(sample).voice) is not None:
            utterance = replace(utterance, meta={**utterance.meta, "voice": voice})
        yield name, utterance


def write_sample(out: Path, row: dict[str, Any], waves: Sequence[Any], done: int, wanted: int) -> int:
    """The utterance's first hypothesis as samples/NNN.flac, until `wanted` are written; 1 where it was, else 0."""
    if done >= wanted or not waves or waves[0] is None:
        return 0
    (out / SAMPLES).mkdir(parents=True, exist_ok=True)
    row["sample"] = f"{SAMPLES}/{done:03d}.flac"
    (out / row["sample"]).write_bytes(encode_flac(waves[0]))
    return 1
