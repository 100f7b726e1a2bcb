"""Each rule by hand; tests/text/test_hallucination_cases.py measures them on a larger set."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.hallucination import RULES, Thresholds, fired


@pytest.mark.parametrize(
    ("hypothesis", "reference", "lang", "duration_s", "expected"),
    [
        ("press one to continue", "press any key to continue", "en", 2.0, ()),
        ("thank you " * 4, "thank you", "en", None, ("ngram_loop", "insertion", "length_ratio")),
        ("no no no no no", "no no no no no", "en", None, ()),
        ("it is so so so so so good", "it is so good today i think so", "en", None, ("ngram_loop",)),
        ("noooooooooooo", "no", "en", None, ("char_loop",)),
        ("谢谢谢谢谢谢谢谢谢谢", "谢谢", "zh", None, ("char_loop", "insertion", "length_ratio")),
        ("press any key now or call us back", "press any key", "en", None, ("insertion", "length_ratio")),
        ("pass word protected voice mail system", "passwordprotected voicemailsystem", "en", None, ()),
        ("thank you", "", "en", None, ("insertion",)),
        ("um", "", "en", None, ()),
        ("", "", "en", 1.0, ()),
        ("the quick brown fox jumps over the dog", "the quick brown fox jumps over a dog", "en", 0.4, ()),
        ("the quick brown fox jumps over it", "the quick brown fox", "en", 0.4, ("insertion", "speaking_rate")),
        ("谢谢", "thank you", "en", None, ("script",)),
        ("你好 OK", "你好", "zh", None, ()),
        ("je suis très fatigué ce soir", "i am very tired tonight", "en", None, ("language",)),
        ("我是日本人", "私は日本人です", "ja", None, ("language",)),
        ("日本人", "にほんじん", "ja", None, ()),
    ],
)
def test_rules_by_hand(hypothesis, reference, lang, duration_s, expected):
    assert fired(hypothesis, reference, lang, duration_s) == expected


def test_without_a_reference_speech_may_repeat_itself():
    assert fired("no no no no no", None, "en") == ()
    assert fired("no " * 6, None, "en") == ("ngram_loop",)
    assert fired("go to the next page " * 3, None, "en") == ("ngram_loop",)
    assert fired("haha", None, "en") == fired("hahahaha", None, "en") == ()
    assert fired("ha" * 9, None, "en") == ("char_loop",)
    assert fired("谢谢", None, "en") == ("script",)
    assert fired("谢谢", None, "") == ()
    assert fired("far more than anybody can say", None, "en", 0.2) == ("speaking_rate",)


def test_round_numbers_are_no_loops():
    assert fired("it cost one trillion dollars", "it cost a million dollars", "en") == ()
    assert "char_loop" in fired("zero " * 9, "it cost a million dollars", "en")


def test_brackets_hide_nothing():
    assert "ngram_loop" in fired("press any key (la la la la la la la)", "press any key", "en")
    assert fired("press (any) key", "press (any) key", "en") == ()


def test_every_rule_has_its_threshold_and_can_be_off():
    text, reference = "thank you " * 4, "thank you"
    assert fired(text, reference, "en", thresholds=Thresholds(off=("insertion", "ngram_loop"))) == ("length_ratio",)
    strict = Thresholds(loop_repeats=5, phrase_repeats=5, insertion_words=7, length_ratio=4.5)
    assert fired(text, reference, "en", thresholds=strict) == ()
    assert fired("谢 x", "thank you", "en", thresholds=Thresholds(script_share=0.9)) == ()
    assert fired("noooooooooooo", "no", "en", thresholds=Thresholds(character_repeats=13)) == ()
    assert fired("one two three", None, "en", 0.0, Thresholds(speaking_rate=2)) == ()
    said = ("je suis très fatigué ce soir", "i am very tired tonight", "en")
    assert fired(*said, thresholds=Thresholds(language_odds=1e12)) == ()


texts = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(["no", "ha", "谢谢", "три", "12"]), max_size=30).map(" ".join)
)
langs = st.sampled_from(["en", "zh", "ja", "ru", "hi", "th", ""])


@settings(max_examples=200, deadline=None)
@given(texts, texts, langs, st.none() | st.floats(0, 20))
def test_any_text_gives_rules_in_order(hypothesis, reference, lang, duration_s):
    for known in (reference, None):
        names = fired(hypothesis, known, lang, duration_s)
        assert list(names) == [rule for rule in RULES if rule in names]


@settings(max_examples=200, deadline=None)
@given(texts, langs, st.floats(0, 20))
def test_the_reference_itself_never_fires(text, lang, duration_s):
    assert fired(text, text, lang, duration_s) == ()
