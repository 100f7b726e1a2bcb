"""The paired permutation test: by enumeration, against scipy's, and its rate of false alarms."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.evaluation.significance import half_binomial, paired_p_value


def enumerated(difference: np.ndarray) -> float:
    sums = [abs(int(difference @ np.array(signs))) for signs in product((1, -1), repeat=len(difference))]
    return float(np.mean([value >= abs(int(difference.sum())) for value in sums]))


def test_by_hand():
    assert paired_p_value(np.array([1]), np.array([0])) == 1.0  # one utterance says nothing
    assert paired_p_value(np.array([1, 1, 1]), np.array([0, 0, 0])) == pytest.approx(2 / 8)
    assert paired_p_value(np.array([0] * 10), np.array([2] * 10)) == pytest.approx(2 / 2**10)
    assert paired_p_value(np.array([3, 4]), np.array([3, 4])) == 1.0
    assert paired_p_value(np.zeros(0, int), np.zeros(0, int)) == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=9))
def test_equals_enumerating_every_swap(pairs):
    errors, baseline = np.array(pairs).T
    assert paired_p_value(errors, baseline) == pytest.approx(enumerated(errors - baseline), abs=1e-12)
    assert paired_p_value(errors, baseline) == paired_p_value(baseline, errors)


def test_equals_scipys_within_its_sampling():
    from scipy.stats import permutation_test

    rng = np.random.default_rng(0)
    errors, baseline = rng.poisson(3.0, 80), rng.poisson(3.6, 80)
    drawn = permutation_test(
        ((errors - baseline).astype(float),), lambda x, axis: x.sum(axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=20_000, rng=rng,
    )  # fmt: skip
    exact = paired_p_value(errors, baseline)
    assert 0.001 < exact < 0.5
    assert drawn.pvalue == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 20_000))


def test_equal_systems_are_called_different_in_at_most_about_5_of_100_comparisons():
    rng = np.random.default_rng(1)
    found = [paired_p_value(rng.poisson(2.0, 40), rng.poisson(2.0, 40)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.08


def test_many_utterances_without_overflow():
    rng = np.random.default_rng(2)
    errors = rng.poisson(3.0, 5000)
    assert 0 <= paired_p_value(errors, errors + rng.integers(0, 2, 5000)) < 1e-100
    assert half_binomial(5000).sum() == pytest.approx(1)
