"""Bootstrap intervals: their values, seeds, and what pairing is worth."""

import numpy as np
import pytest

from arl.evaluation import bootstrap
from arl.evaluation.bootstrap import bootstrap_sums, interval_of, paired_relative, rate_interval


def corpus(n: int = 300, rate: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    words = rng.integers(3, 20, n)
    return rng.binomial(words, rate), words


def test_the_value_is_the_corpus_rate_and_lies_in_its_interval():
    errors, words = corpus()
    found = rate_interval(errors, words)
    assert found.value == errors.sum() / words.sum()
    assert found.low < found.value < found.high
    spread = np.sqrt(0.2 * 0.8 / words.sum())  # of independent words
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.2)


def test_four_times_the_utterances_halve_the_interval():
    small, large = (rate_interval(*corpus(n)) for n in (200, 800))
    assert (large.high - large.low) / (small.high - small.low) == pytest.approx(0.5, rel=0.2)


def test_about_95_of_100_intervals_hold_the_true_rate():
    found = [rate_interval(*corpus(seed=seed), samples=400) for seed in range(100)]
    assert 88 <= sum(interval.low <= 0.2 <= interval.high for interval in found) <= 100


def test_seeds():
    errors, words = corpus()
    assert rate_interval(errors, words, seed=3) == rate_interval(errors, words, seed=3)
    assert rate_interval(errors, words, seed=3) != rate_interval(errors, words, seed=4)


def test_without_errors_or_spread_the_interval_is_a_point():
    words = np.array([4, 4, 4])
    assert rate_interval(np.zeros(3, int), words).high == 0
    assert rate_interval(np.array([1, 1, 1]), words) == bootstrap.Interval(0.25, 0.25, 0.25)


def test_blocks_do_not_change_the_draws(monkeypatch):
    columns = np.stack(corpus(50), axis=1)
    whole = bootstrap_sums(columns, samples=1000, seed=1)
    assert whole.shape == (1000, 2)
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    assert np.array_equal(bootstrap_sums(columns, samples=1000, seed=1), whole)
    monkeypatch.setattr(bootstrap, "BLOCK", 1)
    assert np.array_equal(bootstrap_sums(columns, samples=100, seed=1), whole[:100])


def test_every_draw_has_as_many_utterances_as_the_corpus():
    assert (bootstrap_sums(np.ones((20, 1), int), samples=50, seed=0) == 20).all()


def test_pairing_sees_a_small_but_steady_gain():
    baseline, words = corpus(rate=0.3)
    better = np.maximum(baseline - (np.arange(len(words)) % 4 == 0), 0)
    change = paired_relative(better, baseline)
    assert change.value == pytest.approx((better.sum() - baseline.sum()) / baseline.sum())
    assert change.low < change.value < change.high < 0
    alone, other = rate_interval(better, words), rate_interval(baseline, words)
    assert alone.high > other.low  # the separate intervals overlap


def test_equal_systems_do_not_differ():
    errors, _ = corpus()
    assert paired_relative(errors, errors) == bootstrap.Interval(0.0, 0.0, 0.0)
    shuffled = np.random.default_rng(1).permutation(errors)
    change = paired_relative(shuffled, errors)
    assert change.low < 0 < change.high


def test_a_baseline_without_errors():
    none, some = np.zeros(5, int), np.array([0, 0, 0, 0, 2])
    assert paired_relative(none, none) == bootstrap.Interval(0.0, 0.0, 0.0)
    change = paired_relative(some, none)
    assert change.value > 1e9 and change.low == 0 and np.isfinite(change.high)


def test_a_statistic_that_nothing_or_not_every_draw_defines():
    assert interval_of(float("nan"), np.full(10, np.nan)) is None
    drawn = np.concatenate([np.linspace(0, 1, 101), np.full(50, np.nan)])
    assert interval_of(0.5, drawn) == bootstrap.Interval(0.5, pytest.approx(0.025), pytest.approx(0.975))
