"""The figures of synthesised speech: what a recogniser hears, whose voice it is, how it sounds and moves.

    rows = measure(utterances, listeners)                     # one row per utterance, of all its hypotheses
    summarise(rows, seed=0)["mos"], compare(rows, baseline, seed=0)["mos"]["p"]

Every figure is a ratio of two sums over utterances (METRICS), so that one bootstrap over utterances gives all
intervals, and a paired one those of differences. What could not be measured (no waveform, no voice) is in neither
sum. Left out: the waveforms themselves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arl.audio.io import SAMPLE_RATE
from arl.audio.waves import read_waves
from arl.errors import ArlError
from arl.evaluation.bootstrap import SAMPLES, drawn_sums, interval_of
from arl.evaluation.figures import flat
from arl.evaluation.significance import paired_p_value
from arl.rewards.programs.utterance import Utterance
from arl.text.diversity import group_distances, spoken
from arl.text.normalise import normalise, open_brackets
from arl.text.wer import aligned, counts_characters

if TYPE_CHECKING:
    import numpy as np


Row = Mapping[str, Any]
Rows = Sequence[Row]
FIELDS = ("key", "reference", "hyps", "sums")
STEPS = 100  # of the largest difference: how finely differences are counted in the permutation test
TINY = 1e-12


@dataclass(frozen=True)
class Metric:
    """A figure: its name in rows and summary, its label, and how a person reads it (a format, after a factor)."""

    name: str
    label: str
    form: str
    factor: float = 1.0


METRICS = (
    Metric("wer", "WER, %", ".2f", 100),
    Metric("cer", "CER, %", ".2f", 100),
    Metric("similarity", "speaker similarity", ".3f"),
    Metric("mos", "MOS", ".2f"),
    Metric("seconds", "seconds", ".2f"),
    Metric("characters_per_s", "characters/s", ".1f"),
    Metric("tokens_per_character", "tokens/character", ".3f"),
    Metric("f0_std", "F0 std, semitones", ".2f"),
    Metric("token_diversity", "token diversity", ".3f"),
    Metric("truncated", "cut by length, %", ".1f", 100),
    Metric("no_wave", "no waveform, %", ".1f", 100),
)


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


def measure(utterances: Iterable[Utterance], listeners: Listeners) -> Iterable[tuple[dict[str, Any], list[Any]]]:
    """(row, waves) of each utterance; waves [G] are float32 [n] or None."""
    for utterance in utterances:
        waves = read_waves(utterance.hyps, "eval-speech")
        yield row_of(utterance, waves, listeners), waves


def row_of(utterance: Utterance, waves: "Sequence[np.ndarray | None]", listeners: Listeners) -> dict[str, Any]:
    """{"key", "reference", "lang", "hyps": per hypothesis what was measured, "sums": {metric: [above, below]}}."""
    tokens = [spoken(hyp.tokens, hyp.finish) for hyp in utterance.hyps]
    present = [wave for wave in waves if wave is not None]
    texts = iter(listeners.transcribe(present) if listeners.transcribe and present else [])
    scores = iter(listeners.mos(present) if listeners.mos and present else [])
    voice = listeners.voice(utterance) if listeners.voice else None
    hyps = []
    for hyp, own, wave, apart in zip(utterance.hyps, tokens, waves, group_distances(tokens), strict=True):
        one: dict[str, Any] = {"finish": hyp.finish, "tokens": len(own), "token_diversity": apart}
        if wave is not None:
            one["seconds"] = len(wave) / SAMPLE_RATE
            one |= {"heard": next(texts)} if listeners.transcribe else {}
            one |= {"mos": next(scores)} if listeners.mos else {}
            if listeners.f0_std:
                one["f0_std"] = listeners.f0_std(wave)
            if listeners.embed and voice is not None and (said := listeners.embed(wave)) is not None:
                one["similarity"] = float(said @ voice)
        hyps.append(one)
    row = {"key": utterance.key, "reference": utterance.ref, "lang": utterance.lang, "hyps": hyps}
    return row | {"sums": sums_of(row)}


def sums_of(row: Row) -> dict[str, list[float]]:
    """[above, below] of every metric over the row's hypotheses; [0, 0] where it is not defined."""
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


def _add(pair: list[float], above: float, below: float) -> None:
    pair[0] += above
    pair[1] += below


def table(rows: Rows) -> "np.ndarray":
    """[utterances, metrics, 2] sums of each row."""
    import numpy as np

    return np.array([[row["sums"][metric.name] for metric in METRICS] for row in rows], dtype=np.float64)


def ratio(sums: "np.ndarray") -> "np.ndarray":
    """[..., 2] → above / below, NaN where below is 0."""
    import numpy as np

    return np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(sums[..., 1], TINY), np.nan)


def drawn(counts: "np.ndarray", seed: int) -> "np.ndarray":
    """[utterances, ...] → [draws, ...], summed over the utterances of each bootstrap draw."""
    return drawn_sums(counts.reshape(len(counts), -1), SAMPLES, seed).reshape(SAMPLES, *counts.shape[1:])


def summarise(rows: Rows, seed: int) -> dict[str, Any]:
    """Each metric with its 95 % interval: {name, name_low, name_high}, nulls where nothing defines it."""
    if not rows:
        raise ArlError("eval-speech: no utterance")
    counts = table(rows)
    values, draws = ratio(counts.sum(0)), ratio(drawn(counts, seed))
    summary: dict[str, Any] = {"utterances": len(rows), "hypotheses": sum(len(row["hyps"]) for row in rows)}
    for place, metric in enumerate(METRICS):
        summary |= flat(metric.name, interval_of(values[place], draws[:, place]))
    return summary


def compare(rows: Rows, baseline: Rows, seed: int) -> dict[str, Any]:
    """Per metric {"a", "b", "change", "change_low", "change_high", "p"} of `rows` (B) against `baseline` (A), paired.

    "duration_ratio": seconds of B / seconds of A, with its interval, over utterances that have both. ArlError unless
    both are of the same utterances.
    """
    import numpy as np

    new, old = table(rows), table(paired(rows, baseline))
    both = drawn(np.stack([new, old], axis=1), seed)  # [draws, 2, metrics, 2]
    result: dict[str, Any] = {}
    for place, metric in enumerate(METRICS):
        a, b = float(ratio(old.sum(0))[place]), float(ratio(new.sum(0))[place])
        draws = ratio(both[:, 0, place]) - ratio(both[:, 1, place])
        values = {"a": a if np.isfinite(a) else None, "b": b if np.isfinite(b) else None}
        p = p_value(ratio(new[:, place]), ratio(old[:, place]))
        result[metric.name] = values | flat("change", interval_of(b - a, draws)) | {"p": p}
    seconds = [metric.name for metric in METRICS].index("seconds")
    means = np.stack([ratio(new[:, seconds]), ratio(old[:, seconds])], axis=1)  # [utterances, 2]
    means = means[np.isfinite(means).all(1)]
    if len(means):
        result |= flat("duration_ratio", interval_of(float(ratio(means.sum(0))), ratio(drawn(means, seed))))
    return result


def p_value(new: "np.ndarray", old: "np.ndarray") -> float | None:
    """Paired permutation test of the utterances' values, [utterances] each, NaN where not defined; None without any.

    Differences are counted in hundredths of the largest, as the exact test is of whole numbers.
    """
    import numpy as np

    difference = (new - old)[np.isfinite(new) & np.isfinite(old)]
    if not len(difference):
        return None
    largest = float(np.abs(difference).max())
    steps = np.rint(difference / max(largest, TINY) * STEPS)
    return paired_p_value(steps, np.zeros_like(steps))


def paired(rows: Rows, baseline: Rows) -> list[Row]:
    """The rows of `baseline` in the order of `rows`. ArlError unless both have the same keys and references."""
    new, old = ({row["key"]: row for row in one} for one in (rows, baseline))
    if len(new) < len(rows) or len(old) < len(baseline):
        raise ArlError("--compare: two utterances of one evaluation have the same key")
    if alone := sorted(set(old) ^ set(new)):
        raise ArlError(f"--compare: {len(alone)} utterances are in one of the two only, the first {alone[0]}")
    for key, row in new.items():
        if row["reference"] != old[key]["reference"]:
            raise ArlError(f"--compare: utterance {key} has another text there; evaluate both again")
    return [old[key] for key in new]
