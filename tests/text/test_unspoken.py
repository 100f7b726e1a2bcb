"""Runs of symbols, invisible characters and fillers fire a loop rule, with the right words or without."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.text.hallucination import fired
from arl.text.unspoken import UNSPOKEN, swallowed_rounds, symbol_rounds, symbol_runs, words_of

LOOPS = {"ngram_loop", "char_loop"}


@pytest.mark.parametrize(
    "tail",
    [
        "!" * 40, "。" * 40, "😂" * 40, " -" * 40, " um" * 40, ", um" * 40, " ..." * 40, "?!" * 20, "\n" * 40,
        "\u200b" * 40, "\u0301" * 40, "\u3164" * 40, "\u0640" * 40,
        "_" * 40, " <unk>" * 40, " [noise]" * 40, "❤️" * 40, "👨‍👩‍👧" * 40,
        " ()" * 40, " uh um hmm uh mm um um uh mhm", " minus" * 40, " " + "0" * 100, " 1" + "0" * 100, " 000," * 40,
        " .,;:-!?'\"/\\|+=*&^%$#@~<>{}[]()_-.,;:", "♪" * 12,
    ],
)  # fmt: skip
def test_runaway_symbols_and_fillers_are_loops(tail):
    assert LOOPS & set(fired("turn it off" + tail, "turn it off", "en", 3.0)), tail
    assert LOOPS & set(fired("turn it off" + tail, None, "en", 3.0)), tail
    assert fired("turn it off" + tail, "turn it off" + tail, "en", 3.0) == ()


@pytest.mark.parametrize(("text", "lang"), [("!" * 40, "en"), ("打开空调" + "。" * 40, "zh"), ("वह" + "।" * 20, "hi")])
def test_in_every_language_and_instead_of_the_words(text, lang):
    assert "char_loop" in fired(text, "打开空调" if lang == "zh" else "turn it off", lang, 3.0)


@pytest.mark.parametrize(
    "text",
    [
        "turn it off...", "turn it off!!!", "turn... it... off......", "turn it off?!?!", "turn — it — off",
        "um um um turn it off", "- turn it off -", "turn it off …………", "turn it off 😂😂😂", "♪ turn it off ♪",
        "turn, um, it, uh, off",
    ],
)  # fmt: skip
def test_what_people_write_is_none(text):
    assert fired(text, "turn it off", "en", 3.0) == ()


def test_numbers_in_words_are_no_loop():
    assert not LOOPS & set(fired("call five five five one two three four", "call 5551234 now", "en", 5.0))
    assert not LOOPS & set(fired("it cost one quadrillion dollars", "it cost a million dollars", "en"))


def test_rounds_are_counted():
    assert symbol_rounds(symbol_runs("off" + "!" * 40)) == 40
    assert symbol_rounds(symbol_runs("off... " + "-. " * 9)) == pytest.approx(9, abs=1)
    assert symbol_rounds(symbol_runs("turn it off!")) == 0
    assert swallowed_rounds("um uh um off um", "en") == 3
    assert swallowed_rounds("um " * 9, "de") == 0


@given(st.text(st.sampled_from("ab01_ .!\t\x1c\x7f\u00e9\u0130\u4e00\u200b"), max_size=30))
def test_the_tables_of_ascii_find_what_the_patterns_find(text: str) -> None:
    assert words_of(text) == re.findall(r"\w+", text)
    assert symbol_runs(text) == re.findall(UNSPOKEN + "{9,}", text)


def test_a_letter_that_is_two_in_lower_case_is_no_end() -> None:
    assert swallowed_rounds("a! " * 5 + "\u0130\u0130 " * 9, "en") == 0
