"""Bootstrap intervals over utterances for word error rates (Bisani & Ney 2004, "Bootstrap estimates for confidence intervals").

Utterances are drawn with replacement; errors and reference words are summed over the draw, so long utterances count
as they do in the corpus rate. Paired: both systems on the same draw.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def draws(n: int, samples: int, seed: int) -> np.ndarray:
    """[samples, n] how often each utterance is in each draw."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=samples)


def rate_interval(errors: np.ndarray, words: np.ndarray, samples: int = 10_000, seed: int = 0) -> Interval:
    """Corpus rate Σ errors / Σ words with its interval. errors, words: [utterances]."""
    counts = draws(len(words), samples, seed)
    rates = counts @ errors / np.maximum(counts @ words, 1)
    return Interval(float(errors.sum() / words.sum()), *map(float, np.percentile(rates, [2.5, 97.5])))


def paired_relative(
    errors: np.ndarray, baseline: np.ndarray, words: np.ndarray, samples: int = 10_000, seed: int = 0
) -> Interval:
    """Relative change of the rate against the baseline, (e − b) / b, with its paired interval; negative is better."""
    counts = draws(len(words), samples, seed)
    old = np.maximum(counts @ baseline, 1e-12)
    change = (counts @ errors - old) / old
    whole = (errors.sum() - baseline.sum()) / max(baseline.sum(), 1e-12)
    return Interval(float(whole), *map(float, np.percentile(change, [2.5, 97.5])))
