"""The metrics of synthesised speech, each over all hypotheses of the utterances.

A row has their sums over its hypotheses: row["sums"]["mos"] is [numerator, denominator]. What could not be measured
(no waveform, no voice) is in neither.
"""

from functools import partial

from arl.evaluation.metric import Metric, Row


def numerator(name: str, row: Row) -> float:
    return row["sums"][name][0]


def denominator(name: str, row: Row) -> float:
    return row["sums"][name][1]


def summed(name: str, label: str, form: str, factor: float = 1.0) -> Metric:
    """A metric of the sums that a row has under its name."""
    return Metric(name, label, partial(numerator, name), partial(denominator, name), form, factor, test="ratios")


METRICS = (
    summed("wer", "WER, %", ".2f", 100),
    summed("cer", "CER, %", ".2f", 100),
    summed("similarity", "speaker similarity", ".3f"),
    summed("mos", "MOS", ".2f"),
    summed("seconds", "seconds", ".2f"),
    summed("characters_per_s", "characters/s", ".1f"),
    summed("tokens_per_character", "tokens/character", ".3f"),
    summed("f0_std", "F0 std, semitones", ".2f"),
    summed("token_diversity", "token diversity", ".3f"),
    summed("truncated", "cut by length, %", ".1f", 100),
    summed("no_wave", "no waveform, %", ".1f", 100),
)
SECONDS = METRICS[4]
