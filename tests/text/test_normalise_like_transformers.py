"""On canonical code points whisper-normalizer's English normaliser gives what transformers' gives, with which word
error rates are published."""

import functools
import json
from collections.abc import Callable
from importlib import resources

from hypothesis import example, given, settings
from hypothesis import strategies as st

from arl.text.canonical import canonical
from arl.text.normalise import normalise


@functools.cache
def transformers_normaliser() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    spelling = json.loads(resources.files("whisper_normalizer").joinpath("normalizers/english.json").read_text())
    return EnglishTextNormalizer(spelling)


def by_transformers(text: str) -> str:
    return " ".join(transformers_normaliser()(canonical(text, "en")).split())


def any_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


fillers = any_of("hmm mm mhm mmm uh um mr mrs st dr prof capt gov ald gen sen rep hon been gone done got nd rd th s")
number_words = any_of(
    "o oh zero one ones two five eleven fifteen twenty twenties thirty third fifth hundred hundreds thousand million "
    "double triple minus plus negative and half per cent percent point dollar dollars pound euros cents first twelfth"
)
contracted = st.builds("{}'{}".format, any_of("i he let she won don y ma ain it"), any_of("s d re ll ve m t all am"))
numbers = any_of("1 0 10 1960s 2nd 3.5 1,000 1,000. 5. $5 20% £3 7th 0.5 12:30 1-800")
plain = any_of("the cat colour Please HANG a half organise theatre x andy sting ones")
odd = any_of(
    "- . .. wait... ' 's 'tis dogs' (laughs) [x y] é U.S. e.g. and/or twenty-one mother-in-law a.5 $ % o'clock "
    "rock'n'roll “so” well-known"
)
ends = st.one_of(st.just(""), any_of(", . ? ! ; : ., !. ?! -"))
words = st.one_of(fillers, number_words, contracted, numbers, plain, odd)
texts = st.lists(st.builds(str.__add__, words, ends), max_size=9).map(" ".join)


@settings(max_examples=1000, deadline=None)
@given(texts)
@example("she's been gone. it's got 2 nd hand")
@example("one hundred and five pounds and seven cents, twenty twenty")
@example("let 's go and a half")
@example("hang up .")
@example(".5 of it. no")
@example("double oh seven point five percent")
@example("minus minus five plus the rest")
def test_words_that_the_normaliser_looks_for(text):
    assert normalise(text, "en") == by_transformers(text)


@settings(max_examples=500, deadline=None)
@given(st.lists(number_words, max_size=6).map(" ".join), ends)
def test_number_words(text, end):
    for said in (text + end, f"the {text} cats", f"{text}. {text}"):
        assert normalise(said, "en") == by_transformers(said)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(alphabet="abost 0125.,'-?!$%and", max_size=40), st.text(max_size=40)))
def test_any_characters(text):
    assert normalise(text, "en") == by_transformers(text)


def test_one_text_in_full():
    text = "The Doctor's programme cost 1,000 pounds, didn't it? It's 5% of 3 and a half million."
    assert normalise(text, "en") == transformers_normaliser()(text).strip()
