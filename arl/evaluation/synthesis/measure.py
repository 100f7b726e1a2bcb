"""The row of an utterance in `utterances.jsonl`: what was heard and measured in each of its hypotheses.

    row = row_of(utterance, read_waves(utterance.hyps, "eval"), listeners)

Left out: what listens (`arl.evaluation.synthesis.listeners`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arl.audio.io import SAMPLE_RATE
from arl.evaluation.metric import Row
from arl.evaluation.synthesis.metrics import METRICS
from arl.rewards.programs.utterance import Utterance
from arl.text.diversity import group_distances, spoken
from arl.text.normalise import normalise, open_brackets
from arl.text.wer import aligned, counts_characters

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Listeners:
    """What listens, each over float32 [n] waves at 16 kHz; None: left out.

    voice: the utterance → its reference speaker's embedding, None where there is no reference.
    """

    transcribe: "Callable[[list[np.ndarray]], list[str]] | None" = None
    embed: "Callable[[np.ndarray], np.ndarray | None] | None" = None
    voice: "Callable[[Utterance], np.ndarray | None] | None" = None
    mos: "Callable[[list[np.ndarray]], list[float | None]] | None" = None
    f0_std: "Callable[[np.ndarray], float | None] | None" = None


def row_of(utterance: Utterance, waves: "Sequence[np.ndarray | None]", listeners: Listeners) -> dict[str, Any]:
    """{"key", "reference", "lang", "hyps": per hypothesis what was measured, "sums": {metric: [numerator,
    denominator]}}."""
    tokens = [spoken(hyp.tokens, hyp.finish) for hyp in utterance.hyps]
    heard = iter(heard_in([wave for wave in waves if wave is not None], listeners))
    voice = listeners.voice(utterance) if listeners.voice else None
    hyps = []
    for hyp, own, wave, distance in zip(utterance.hyps, tokens, waves, group_distances(tokens), strict=True):
        found = {"finish": hyp.finish, "tokens": len(own), "token_diversity": distance}
        if wave is not None:
            found |= {"seconds": len(wave) / SAMPLE_RATE, **next(heard)} | listened(wave, voice, listeners)
        hyps.append(found)
    row = {"key": utterance.key, "reference": utterance.ref, "lang": utterance.lang, "hyps": hyps}
    return row | {"sums": sums_of(row)}


def heard_in(waves: "Sequence[np.ndarray]", listeners: Listeners) -> list[dict[str, Any]]:
    """What is found in the waves of a group together: {"heard", "mos"} of each."""
    found: list[dict[str, Any]] = [{} for _ in waves]
    for name, listen in (("heard", listeners.transcribe), ("mos", listeners.mos)):
        if listen and waves:
            for one, value in zip(found, listen(list(waves)), strict=True):
                one[name] = value
    return found


def listened(wave: "np.ndarray", voice: "np.ndarray | None", listeners: Listeners) -> dict[str, Any]:
    """What is found in one wave by itself: {"f0_std", "similarity"}. voice: the embedding it is compared with."""
    found: dict[str, Any] = {}
    if listeners.f0_std:
        found["f0_std"] = listeners.f0_std(wave)
    if listeners.embed and voice is not None and (own := listeners.embed(wave)) is not None:
        found["similarity"] = float(own @ voice)
    return found


def sums_of(row: Row) -> dict[str, list[float]]:
    """[numerator, denominator] of every metric over the row's hypotheses; [0, 0] where it is not defined."""
    reference, lang, hyps = row["reference"], row["lang"], row["hyps"]
    said = normalise(reference, lang)
    n_characters = len(said.replace(" ", ""))
    sums = {metric.name: [0.0, 0.0] for metric in METRICS}
    for hyp in hyps:
        if "heard" in hyp:
            heard = normalise(open_brackets(hyp["heard"], reference), lang)
            for name, characters in (("wer", counts_characters(lang)), ("cer", True)):
                errors = aligned(said, heard, characters).errors
                _add(sums[name], errors.errors, errors.length)
        for name in ("similarity", "mos", "f0_std", "token_diversity", "seconds"):
            if hyp.get(name) is not None:
                _add(sums[name], hyp[name], 1)
        if "seconds" in hyp:
            _add(sums["characters_per_s"], n_characters, hyp["seconds"])
        if n_characters:
            _add(sums["tokens_per_character"], hyp["tokens"], n_characters)
        _add(sums["truncated"], hyp["finish"] == "length", 1)
        _add(sums["no_wave"], "seconds" not in hyp, 1)
    return sums


def _add(pair: list[float], numerator: float, denominator: float) -> None:
    pair[0] += numerator
    pair[1] += denominator
