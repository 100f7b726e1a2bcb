import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import UsageError
from arl.rewards.advantages import KINDS, advantages, has_reward_variance

ROOT_HALF = math.sqrt(0.5)


def test_std_is_equation_1_with_ddof_1():
    assert advantages([1.0, 0.0], "std", eps=1e-12) == pytest.approx([ROOT_HALF, -ROOT_HALF])
    assert advantages([1.0, 2.0, 3.0], "std", eps=1e-12) == pytest.approx([-1.0, 0.0, 1.0])
    rewards = [0.9, 0.5, 0.5, -1.0]
    scale = statistics.stdev(rewards) + 1e-6
    assert advantages(rewards) == pytest.approx([(r - 0.225) / scale for r in rewards])


def test_mean_and_rloo():
    assert advantages([1.0, 2.0, 6.0], "mean") == pytest.approx([-2.0, -1.0, 3.0])
    assert advantages([1.0, 2.0, 6.0], "rloo") == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5])


@given(st.lists(st.none() | st.floats(-10, 10), max_size=8))
def test_rloo_is_the_reward_minus_the_mean_of_the_others(rewards):
    for i, (reward, advantage) in enumerate(zip(rewards, advantages(rewards, "rloo"), strict=True)):
        others = [other for j, other in enumerate(rewards) if j != i and other is not None]
        if reward is None:
            assert advantage is None
        else:
            expected = reward - sum(others) / len(others) if has_reward_variance(rewards) else 0.0
            assert advantage == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_excluded_rewards_leave_the_group(kind):
    whole = advantages([0.2, 0.8, 0.5], kind)
    assert advantages([0.2, None, 0.8, None, 0.5], kind) == [whole[0], None, whole[1], None, whole[2]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rewards", [[], [0.7], [0.1 + 0.2] * 12, [None, 0.3, None], [None, None]])
def test_groups_with_zero_reward_variance_teach_nothing(kind, rewards):
    assert advantages(rewards, kind) == [None if r is None else 0.0 for r in rewards]
    assert not has_reward_variance(rewards)


def test_unknown_kind_and_bad_eps_are_usage_errors():
    with pytest.raises(UsageError, match="std, mean, rloo"):
        advantages([1.0], "zscore")
    with pytest.raises(UsageError, match="--eps"):
        advantages([1.0], "std", eps=0.0)


@given(st.lists(st.none() | st.floats(-10, 10), max_size=12), st.sampled_from(KINDS))
def test_advantages_sum_to_zero_and_keep_the_order(rewards, kind):
    result = advantages(rewards, kind)
    assert [a is None for a in result] == [r is None for r in rewards]
    pairs = [(r, a) for r, a in zip(rewards, result, strict=True) if r is not None]
    assert sum(a for _, a in pairs) == pytest.approx(0, abs=1e-6)
    assert all(math.isfinite(a) for _, a in pairs)
    for r1, a1 in pairs:
        assert all(a1 <= a2 for r2, a2 in pairs if r1 <= r2)
