"""Bootstrap intervals over utterances for rates that are ratios of sums.

Bisani & Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation". Utterances are drawn
with replacement; errors and reference words are summed over the draw, so long utterances count as they do in the
corpus rate. Paired: both systems on the same draw.
"""

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 22  # counts held at a time
TINY = 1e-12
SAMPLES = 10_000  # draws behind an interval


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap_sums(columns: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """[utterances, ...] → float64 [samples, ...]: sums over each draw of as many utterances with replacement."""
    n, shape = len(columns), columns.shape[1:]
    flat = np.asarray(columns, dtype=np.float64)  # whole numbers stay exact, and the product is quick
    flat = flat.reshape(n, math.prod(shape))
    rng, sums = np.random.default_rng(seed), []
    for start in range(0, samples, max(1, BLOCK // n)):
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=min(max(1, BLOCK // n), samples - start))
        sums.append(counts.astype(np.float64) @ flat)
    return np.concatenate(sums).reshape(samples, *shape)


def interval_of(value: float, draws: np.ndarray) -> Interval | None:
    """A statistic of the corpus and its values over draws [samples]. None where the corpus does not define it (NaN, as
    a recall without keywords); draws that do not define it are left out."""
    if not np.isfinite(value):
        return None
    return Interval(float(value), *map(float, np.percentile(draws[np.isfinite(draws)], [2.5, 97.5])))


def flat(name: str, interval: Interval | None) -> dict[str, float | None]:
    """{name, name_low, name_high} of an interval; nulls where it is not defined."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def rate_interval(errors: np.ndarray, words: np.ndarray, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """Corpus rate Σ errors / Σ words with its interval. errors, words: [utterances]."""
    sums = bootstrap_sums(np.stack([errors, words], axis=1), samples, seed)
    rates = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return Interval(float(errors.sum() / words.sum()), *map(float, np.percentile(rates, [2.5, 97.5])))


def paired_relative(errors: np.ndarray, baseline: np.ndarray, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """Relative change of the rate against the baseline, (e − b) / b, with its paired interval; negative is better.

    errors, baseline: [utterances], of the same reference words, which cancel. Where the baseline makes no errors the
    change is 0 if there are none now either, else huge.
    """
    sums = bootstrap_sums(np.stack([errors, baseline], axis=1), samples, seed)
    change = relative(sums[:, 0], sums[:, 1])
    whole = relative(errors.sum(), baseline.sum())
    return Interval(float(whole), *map(float, np.percentile(change, [2.5, 97.5])))


def relative(errors: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """(errors − baseline) / baseline; where the baseline is 0, 0 or huge."""
    return (errors - baseline) / np.maximum(baseline, TINY)
