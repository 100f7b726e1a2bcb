"""Whether two systems differ on the same utterances: a two-sided p-value.

Matched pairs, as Gillick & Cox 1989, "Some statistical issues in the comparison of speech recognition algorithms",
ask for: were the systems equal, each utterance's two error counts could as well be swapped. In place of the normal
approximation of their test (NIST's MAPSSWE), all 2^n swaps are counted: the paired permutation test, exact. Counts are
whole numbers, so the distribution of their difference is a convolution of binomial ones, and nothing is drawn. Left
out: MAPSSWE's cutting of utterances into segments, which takes the errors on both sides of a cut for independent.

    paired_p_value(errors, baseline)
    paired_p_value_of_ratios(similarities, baseline)
"""

import math

import numpy as np

STEPS = 100  # of the largest difference: how finely the differences of ratios are counted
TINY = 1e-12


def paired_p_value(errors: np.ndarray, baseline: np.ndarray) -> float:
    """The part of all swaps with |Σ errors − Σ baseline| at least as large as it is; 1 where no utterance differs.

    errors, baseline: whole numbers [utterances] of two systems. Time and memory grow with Σ |errors − baseline|.
    """
    difference = np.asarray(errors, dtype=np.int64) - np.asarray(baseline, dtype=np.int64)
    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    chances: np.ndarray = np.ones(1)  # [Σ sizes so far + 1], of the sum of those differences that are swapped
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        swapped = np.zeros(size * count + 1)
        swapped[::size] = half_binomial(count)
        chances = np.convolve(chances, swapped)
    total = len(chances) - 1
    sums = total - 2 * np.arange(total + 1)
    return min(1.0, float(chances[np.abs(sums) >= abs(int(difference.sum()))].sum()))


def paired_p_value_of_ratios(new: np.ndarray, old: np.ndarray) -> float | None:
    """The same test of a ratio of each utterance, [utterances] each, NaN where not defined; None without any.

    Differences are counted in hundredths of the largest, as the exact test is of whole numbers.
    """
    difference = (new - old)[np.isfinite(new) & np.isfinite(old)]
    if not len(difference):
        return None
    largest = float(np.abs(difference).max())
    steps = np.rint(difference / max(largest, TINY) * STEPS)
    return paired_p_value(steps, np.zeros_like(steps))


def half_binomial(n: int) -> np.ndarray:
    """[n + 1]: the chance of k heads in n throws of a coin."""
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    return np.exp(np.array(logs) - n * math.log(2))
