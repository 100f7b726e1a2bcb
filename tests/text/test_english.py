"""The normaliser by words gives what the original gives on the whole text."""

import functools
import json
import re
from importlib import resources

from hypothesis import example, given, settings
from hypothesis import strategies as st

from arl.text.english import EnglishByWords
from arl.text.normalise import _whisper_module


@functools.cache
def by_words() -> EnglishByWords:
    spelling = json.loads(resources.files("whisper_normalizer").joinpath("normalizers/english.json").read_text())
    return EnglishByWords(_whisper_module().EnglishTextNormalizer(spelling))


def whole(text: str) -> str:
    return " ".join(by_words().original(text).split())


ACTIVE = sorted(by_words().active)
TAILS = ["s", "d", "re", "ll", "ve", "m", "t", "all", "am"]
CONTRACTED = [
    f"{word}'{tail}" for word in ["i", "he", "let", "she", "won", "don", "y", "ma", "ain", "it"] for tail in TAILS
]
NUMBERS = [
    "1",
    "0",
    "10",
    "1960s",
    "2nd",
    "3.5",
    "1,000",
    "1,000.",
    "5.",
    "$5",
    "20%",
    "£3",
    "7th",
    "0.5",
    "12:30",
    "1-800",
]
PLAIN = ["the", "cat", "colour", "Please", "HANG", "a", "half", "organise", "theatre", "x", "andy", "sting", "ones"]
ODD = ["-", ".", "..", "wait...", "'", "'s", "'tis", "dogs'", "(laughs)", "[x", "y]", "é", "U.S.", "e.g.", "and/or"]
ODD += [
    "twenty-one",
    "mother-in-law",
    "a.5",
    "$",
    "%",
    "per",
    "cent",
    "o'clock",
    "rock'n'roll",
    "“so”",
    "\t",
    "well-known",
]
words = st.one_of(*map(st.sampled_from, (ACTIVE, CONTRACTED, NUMBERS, PLAIN, PLAIN, ODD)))
ends = st.sampled_from(["", "", "", "", ",", ".", "?", "!", ";", ":", ".,", "!.", "?!", "-"])
texts = st.lists(st.builds(str.__add__, words, ends), max_size=9).map(" ".join)


@settings(max_examples=1500, deadline=None)
@given(texts)
@example("she's been gone. it's got 2 nd hand")
@example("one hundred and five pounds and seven cents, twenty twenty")
@example("let 's go and a half")
@example("hang up .")
@example(".5 of it. no")
@example("so.")
@example(".")
@example("double oh seven point five percent")
@example("minus minus five plus the rest")
def test_equals_the_original_on_words_the_passes_look_for(text):
    assert by_words()(text) == whole(text)


@settings(max_examples=800, deadline=None)
@given(st.lists(st.sampled_from(sorted(by_words().numbers)), max_size=6).map(" ".join), ends)
def test_equals_the_original_on_number_words(text, end):
    for said in (text + end, f"the {text} cats", f"{text}. {text}"):
        assert by_words()(said) == whole(said)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="abost 0125.,'-?!$%and", max_size=40))
def test_equals_the_original_on_any_characters(text):
    assert by_words()(text) == whole(text)


def test_every_active_word_between_inert_ones():
    for word in ACTIVE:
        for text in (f"cat {word} dog", f"{word} dog", f"cat {word}", f"cat {word}. {word} dog", f"five {word} six"):
            assert by_words()(text) == whole(text)


def test_every_pattern_of_the_original_names_a_word_or_has_an_apostrophe():
    original = by_words().original
    for pattern in [original.ignore_patterns, *original.replacers]:
        named = set(re.findall(r"[a-z]+", pattern.replace(r"\b", "")))
        assert "'" in pattern or named <= by_words().active


def test_inert_words_never_reach_the_original():
    normaliser = EnglishByWords(by_words().original)
    normaliser.original = None
    assert normaliser("Please, leave a message after the colour") == "please leave a message after the color"
