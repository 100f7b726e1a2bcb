"""Who goes where: seeded, whatever the order of the pool; a fair control; unions of sets without repetitions."""

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.data.mining.choose import SetPlan, choose, order, parse
from arl.errors import ArlError, UsageError

POOLS = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=40, unique=True)


@st.composite
def pools(draw) -> tuple[list[str], dict[str, list[str]]]:
    pool = draw(POOLS)
    some = st.lists(st.sampled_from(pool), unique=True)
    return pool, {name: draw(some) for name in ("D1", "D2", "D3")}


@given(pools(), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_pool_does_not_matter(given_, seed: int, overlap: bool, shuffler: random.Random) -> None:
    pool, qualified = given_
    plan = SetPlan(seed=seed, overlap=overlap)
    chosen = choose(pool, qualified, plan)
    shuffled = shuffler.sample(pool, len(pool))
    mixed = {name: shuffler.sample(keys, len(keys)) for name, keys in qualified.items()}
    assert choose(shuffled, mixed, plan) == chosen


@given(pools(), st.integers(0, 3))
def test_sets_are_disjoint_and_complete(given_, seed: int) -> None:
    pool, qualified = given_
    chosen = choose(pool, qualified, SetPlan(sizes={"D0": len(pool) // 3}, seed=seed))
    for first, second in combinations(chosen.values(), 2):
        assert not set(first) & set(second)
    for name, keys in qualified.items():
        assert set(chosen[name]) <= set(keys)
    drawn, both = set(chosen["D0"]), {*chosen["D1"], *chosen["D2"]}
    assert both == {*qualified["D1"], *qualified["D2"]} - drawn  # D1 and D2 lose nothing to each other, or to D3
    assert both | set(chosen["D3"]) == {key for keys in qualified.values() for key in keys} - drawn


@given(pools(), st.integers(0, 3), st.sampled_from(["D1", "D2", "D3"]), st.booleans())
def test_the_control_has_the_size_of_its_set(given_, seed: int, control: str, overlap: bool) -> None:
    pool, qualified = given_
    chosen = choose(pool, qualified, SetPlan(control=control, seed=seed, overlap=overlap))
    assert len(chosen["D0"]) == len(chosen[control])
    if overlap:
        assert set(chosen[control]) == set(qualified[control])
    else:  # one more for the control would leave its set smaller
        larger = choose(pool, qualified, SetPlan(sizes={"D0": min(len(pool), len(chosen["D0"]) + 1)}, seed=seed))
        assert len(larger[control]) <= len(chosen["D0"]) or len(chosen["D0"]) == len(pool)


@given(POOLS, st.integers(1, 50), st.integers(0, 3))
def test_sizes_cut_the_same_order(pool: list[str], size: int, seed: int) -> None:
    whole = choose(pool, {"D1": pool}, SetPlan(["D1"], seed=seed))["D1"]
    assert choose(pool, {"D1": pool}, SetPlan(["D1"], {"D1": size}, seed=seed))["D1"] == whole[:size]


@given(POOLS, st.integers(0, 3))
def test_one_more_utterance_leaves_the_others_in_their_order(pool: list[str], seed: int) -> None:
    longer = order([*pool, "new one"], "D0", seed)
    assert [key for key in longer if key != "new one"] == order(pool, "D0", seed)


def test_the_control_is_drawn_from_all_not_from_what_is_left() -> None:
    """Hard ones are in it as often as in the pool: 40 % here, give or take four standard errors over 50 seeds."""
    pool, hard = [f"u{n}" for n in range(100)], {f"u{n}" for n in range(40)}
    draws = [choose(pool, {"D1": hard}, SetPlan(["D0", "D1"], {"D0": 20}, seed=seed)) for seed in range(50)]
    share = sum(len(hard & set(chosen["D0"])) for chosen in draws) / (50 * 20)
    assert abs(share - 0.4) < 4 * (0.4 * 0.6 / 1000) ** 0.5
    assert len({tuple(chosen["D0"]) for chosen in draws}) == 50


def test_matching_by_hand() -> None:
    pool = [f"u{n}" for n in range(100)]
    chosen = choose(pool, {"D1": pool}, SetPlan(["D0", "D1"]))
    assert (len(chosen["D0"]), len(chosen["D1"])) == (50, 50)
    chosen = choose(pool, {"D1": pool}, SetPlan(["D0", "D1"], {"D1": 10}))
    assert (len(chosen["D0"]), len(chosen["D1"])) == (10, 10)


def test_more_than_there_are_is_an_error() -> None:
    with pytest.raises(ArlError, match="--size D0=2 at most"):
        choose(["a", "b"], {}, SetPlan(["D0"], {"D0": 3}))


def test_parse() -> None:
    assert parse("D3,D1,D0", "", "", False, 7) == SetPlan(["D0", "D1", "D3"], {}, "D1", False, 7)
    assert parse("D0,D2", "20", "", False, 0).sizes == {"D0": 20, "D2": 20}
    assert parse("D0,D1,D2", "D0=3, D2=4", "", True, 0) == SetPlan(
        ["D0", "D1", "D2"], {"D0": 3, "D2": 4}, "D1", True, 0
    )
    assert parse("D0,D1,D2", "", "D2", False, 0).control == "D2"
    both = parse("D2+D0, D1+D2,D0+D2", "", "", False, 0)
    assert both == SetPlan(["D0", "D1", "D2"], {}, "D1", unions=("D0+D2", "D1+D2"))


@pytest.mark.parametrize(
    ("sets", "size", "control"),
    [
        ("D4", "", ""), ("D1+D4", "", ""),
        ("D1+", "", ""), ("", "", ""), ("D0", "", ""), ("D1", "0", ""), ("D1", "-1", ""), ("D1", "D1", ""),
        ("D1", "D1=", ""), ("D1", "=3", ""), ("D1", "D2=3", ""), ("D1,D2", "3,D2=3", ""), ("D1", "D1=3,D1=4", ""),
        ("D0,D1", "", "D2"), ("D0,D1", "", "D0"), ("D0,D1", "D0=3", "D1"), ("D1", "", "D1"),
    ],
)  # fmt: skip
def test_wrong_flags(sets: str, size: str, control: str) -> None:
    with pytest.raises(UsageError):
        parse(sets, size, control, False, 0)
