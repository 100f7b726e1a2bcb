"""Seeded sampling: the hash by the book, the distribution of the draws, and their independence of the batch."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arl.engine import sampling
from arl.engine.sampling import keep_likely, multinomial_with_seed, murmur_hash32

NumberOf = Callable[[float], None]


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0, by the book."""
    state, mask = 0, 0xFFFFFFFF
    for i in range(0, len(data), 4):
        word = int.from_bytes(data[i : i + 4], "little") * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) * 0x1B873593 & mask
        state ^= word
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    return state ^ state >> 16


@given(st.integers(0, 2**62), st.integers(0, 2**31), st.integers(0, 200_000))
def test_the_hash_is_murmur3(seed: int, position: int, column: int) -> None:
    (got,) = murmur_hash32(torch.tensor([seed]), torch.tensor([position]), torch.tensor([column]))[0].tolist()
    data = seed.to_bytes(8, "little") + position.to_bytes(4, "little") + column.to_bytes(4, "little")
    assert got == murmur3(data)


def draw(logprobs: torch.Tensor, seeds: torch.Tensor, position: int = 17) -> torch.Tensor:
    return multinomial_with_seed(logprobs, seeds, torch.full_like(seeds, position)).squeeze(1)


def test_seeded_draws_follow_the_distribution() -> None:
    probs, count = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0]), 20_000
    drawn = draw(probs.log().expand(count, -1), torch.arange(count))
    assert (torch.bincount(drawn, minlength=5) / count - probs).abs().max() < 0.015


@pytest.mark.parametrize("axis", ["seeds", "positions"])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_draws_pass_a_chi_square_test(axis: str, scale: float) -> None:
    """Over consecutive seeds, and over the consecutive positions of one seed as in a response; 200 columns."""
    count, columns = 60_000, 200
    logits = scale * torch.randn(columns, generator=torch.Generator().manual_seed(3))
    along, fixed = torch.arange(count), torch.full((count,), 123_456_789)
    seeds, positions = (along, fixed) if axis == "seeds" else (fixed, along)
    drawn = multinomial_with_seed(logits.expand(count, -1), seeds, positions)[:, 0]  # not normalised
    expected = count * logits.double().softmax(0)
    found = torch.bincount(drawn, minlength=columns).double()
    rare = expected < 8  # as one cell
    found, expected = (torch.cat([cells[~rare], cells[rare].sum()[None]]) for cells in (found, expected))
    kept = expected > 0
    statistic = float(((found - expected) ** 2 / expected)[kept].sum())
    freedom = int(kept.sum()) - 1
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


def test_two_responses_and_two_positions_are_independent() -> None:
    """Pairs of draws, of neighbouring seeds and of neighbouring positions, are spread as the product says."""
    count = 40_000
    even = torch.zeros(count, 8)
    seeds = torch.arange(count)
    first = draw(even, seeds)
    for second in (draw(even, seeds + 1), draw(even, seeds, position=18)):
        pairs = torch.bincount(8 * first + second, minlength=64).double()
        assert abs(float(((pairs - count / 64) ** 2 / (count / 64)).sum()) - 63) < 4 * (2 * 63) ** 0.5


def test_a_draw_is_that_of_its_row_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logprobs = (3 * torch.randn(150, 5003, generator=generator)).log_softmax(-1)
    seeds, positions = torch.randint(2**62, (150,), generator=generator), torch.arange(150)
    together = multinomial_with_seed(logprobs, seeds, positions)
    assert multinomial_with_seed(logprobs, seeds, positions).equal(together)
    order = torch.randperm(150, generator=generator)
    assert multinomial_with_seed(logprobs[order], seeds[order], positions[order]).equal(together[order])
    alone = [multinomial_with_seed(logprobs[i : i + 1], seeds[i : i + 1], positions[i : i + 1]) for i in range(150)]
    assert torch.cat(alone).equal(together)


@pytest.fixture
def number(monkeypatch: pytest.MonkeyPatch) -> NumberOf:
    """Sets the number of every row."""

    def chosen(value: float) -> None:
        monkeypatch.setattr(sampling, "uniforms", lambda seed, positions: torch.full(seed.shape, value).double())

    return chosen


def test_what_has_no_probability_is_never_drawn(number: NumberOf) -> None:
    some = torch.tensor([[-torch.inf, 0.1, -torch.inf, 0.2, -torch.inf]])
    for value, column in ((0.0, 1), (1 - 2.0**-53, 3)):
        number(value)
        assert draw(some, torch.zeros(1, dtype=torch.int64)).tolist() == [column]


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_row_that_is_not_finite_gives_an_id(value: float) -> None:
    assert 0 <= draw(torch.full((1, 5), value), torch.zeros(1, dtype=torch.int64)).item() < 5


def test_a_column_of_a_large_vocabulary_has_its_share(number: NumberOf) -> None:
    """Half of the probability on the first column and the other half even over the rest: float32 sums would drift."""
    columns = 150_000
    logits = torch.zeros(columns + 1)
    logits[0] = torch.log(torch.tensor(float(columns)))
    wanted = [1, 777, 70_001, columns]
    for column in wanted:
        number(0.5 + 0.5 * (column - 0.5) / columns)
        assert draw(logits[None], torch.zeros(1, dtype=torch.int64)).tolist() == [column]


def test_filters_keep_the_likely_and_leave_other_rows_alone() -> None:
    probs = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).expand(4, -1).contiguous()
    kept = keep_likely(probs, torch.tensor([4, 2, 4, 4]), torch.tensor([1.0, 1, 0.6, 1]), torch.tensor([0, 0, 0, 0.6]))
    wanted = [[0.1, 0.4, 0.3, 0.2], [0, 0.4, 0.3, 0], [0, 0.4, 0.3, 0], [0, 0.4, 0.3, 0]]
    assert kept.equal(torch.tensor(wanted))
