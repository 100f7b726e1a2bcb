import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.text.loops import inside_words, longest_run, loop, own_run, periods


@pytest.mark.parametrize(
    ("text", "period", "expected"),
    [
        ("no", 1, (0, 1)),
        ("no no no", 1, (2, 3)),
        ("oh no no no oh no", 1, (2, 4)),
        ("thank you thank you thank you", 2, (4, 6)),
        ("thank you thank you thank", 2, (3, 5)),
        ("so a b c a b", 3, (2, 6)),
        ("a b c", 5, (0, 3)),
        ("no no no no", 2, (0, 4)),
        ("no no no no a b a b a b a b", 2, (6, 12)),
    ],
)
def test_loops_by_hand(text, period, expected):
    assert loop(text.split(), period) == expected


words = st.lists(st.sampled_from("abc"), max_size=20)


@given(words, st.integers(1, 4), st.integers(3, 6))
def test_no_loop_is_overlooked(units, period, rounds):
    looped = [*units, *(["x", "y", "z", "w"][:period] * rounds), *units]
    assert longest_run(looped, period) >= (rounds - 1) * period
    assert period in periods(looped, rounds)


@given(words, st.integers(1, 6))
def test_runs_are_what_a_slow_count_finds(units, period):
    equal = "".join("1" if i >= period and units[i] == units[i - period] else "0" for i in range(len(units)))
    assert longest_run(units, period) == max(map(len, equal.split("0")))
    assert own_run(units, period) in (0, longest_run(units, period))
    assert own_run(units, 1) == longest_run(units, 1)


def test_distinct_words_need_no_search():
    assert list(periods(list("abcdefgh"), 3)) == []


def test_characters_inside_a_word():
    assert inside_words(["he", "said", "hahahahahaha", "and", "noooooo"], 6) == [(2, 6.0), (1, 6.0)]
    assert inside_words(["banana", *["no"] * 6], 3) == []


@given(st.text(alphabet="ab", max_size=12), st.integers(1, 4), st.integers(3, 7))
def test_no_loop_inside_a_word_is_overlooked(around, period, rounds):
    found = inside_words(["some", around + "wxyz"[:period] * rounds + around], rounds)
    assert (period, rounds) in found
