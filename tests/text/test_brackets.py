"""Brackets hide nothing: only the tags that the reference has too are left out of a hypothesis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.hallucination import fired
from arl.text.normalise import normalise, open_brackets
from arl.text.wer import word_errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "lang", "insertions"),
    [
        ("turn it off (laughs)", "turn it off (and some thirty more words that nobody has ever said here)", "en", 11),
        ("[noise] turn it off", "turn it off [the whole time I was singing]", "en", 6),
        ("[noise]", "(Thank you for watching!)", "en", 4),
        ("<unk>打开空调", "打开空调(谢谢观看请订阅我的频道)", "zh", 11),
        ("<unk>打开空调", "打开空调（谢谢观看请订阅我的频道）", "zh", 11),
        ("turn it <unk> off", "turn it off <and then he said that he would never come back here again>", "en", 12),
        ("turn it off [noise]", "turn it off [noise [noise] [noise] hello there]", "en", 4),
        ("turn it off (laughs)", "turn it off (laughs) (laughs) (laughs)", "en", 2),
        ("turn it off", "turn it off ⑴⑵⑶", "en", 3),
        ("turn it off (1)", "turn it off \u2474 (1)", "en", 1),
    ],
)  # fmt: skip
def test_words_in_brackets_count(reference, hypothesis, lang, insertions):
    errors = word_errors(reference, open_brackets(hypothesis, reference), lang)
    assert (errors.insertions, errors.substitutions, errors.deletions) == (insertions, 0, 0)
    if insertions >= 4:
        assert fired(hypothesis, reference, lang)


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("[noise] turn it off", "turn it off"), ("[noise] turn it off", "[noise] turn it off"),
        ("[noise] turn it off", "turn it off [Noise]"),
        ("turn it <unk> off", "turn it [unk] off"), ("(a [b] c) turn", "(a [b] c) turn"),
        ("(laughs) off", "（laughs） off"),
        ("[noise] off (laughs)", "off"),
    ],
)  # fmt: skip
def test_tags_of_the_reference_are_free(reference, hypothesis):
    assert word_errors(reference, open_brackets(hypothesis, reference), "en").errors == 0
    assert fired(hypothesis, reference, "en") == ()


@settings(max_examples=300, deadline=None)
@given(st.text("ab ([<>])", max_size=24))
def test_the_reference_itself_has_no_error(text):
    assert normalise(open_brackets(text, text), "en") == normalise(text, "en")


@settings(max_examples=300, deadline=None)
@given(st.text("ab ([<>])", max_size=16), st.text("ab ([<>])", max_size=16))
def test_no_letter_hides_that_the_reference_has_not(reference, hypothesis):
    dropped = sum(map(str.isalpha, hypothesis)) - sum(map(str.isalpha, open_brackets(hypothesis, reference)))
    assert dropped <= sum(map(str.isalpha, reference)) - sum(map(str.isalpha, normalise(reference, "fr")))
