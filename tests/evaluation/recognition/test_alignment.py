"""Aligned texts: what a person sees, and that nothing but marks is added to it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from arl.evaluation.recognition.alignment import MISSING, cell, mark, merge, render, unmark
from arl.text.normalise import normalise
from arl.text.wer import align

WIDE = 10_000


def lines(reference: str, *hypotheses: str, lang: str = "en", width: int = WIDE) -> list[str]:
    columns = merge([align(reference, hypothesis, lang) for hypothesis in hypotheses])
    labels = ("REF", "A", "B")[: 1 + len(hypotheses)]
    return [line.plain for line in render(labels, columns, width)]


def test_every_kind_of_error_shows_without_colour():
    assert lines("the cat sat on it", "well the hat sat it", "the cat sat on it") == [
        "REF **** the cat sat on  it",
        "A   WELL the HAT sat *** it",
        "B        the cat sat on  it",
    ]


def test_capitals_say_nothing_of_digits_and_scripts_without_case():
    assert lines("press 2", "press 21") == ["REF press 2", "A   press [21]"]
    assert lines("你好", "你们", lang="zh") == ["REF 你 好", "A   你 [们]"]
    assert mark("straße") == "[straße]" and mark("été") == "ÉTÉ"


def test_insertions_at_one_place_share_columns():
    assert lines("b", "a b c d", "x b") == [
        "REF *** b *** ***",
        "A   A   b C   D",
        "B   X   b",
    ]


def test_stars_fill_their_column():
    assert lines("yes", "yes recognition") == ["REF yes ***********", "A   yes RECOGNITION"]


def test_lines_break_at_the_terminals_width():
    broken = lines("one small step for a man", "one step for a man", "one small step for mankind", lang="fr", width=20)
    assert broken[:3] == ["REF one small step", "A   one ***** step", "B   one small step"]
    assert len(broken) % 3 == 0 and all(len(line) <= 20 for line in broken)
    assert lines("antidisestablishmentarianism", "", lang="fr", width=10)[0].endswith("anism")  # too long to break


def test_colours_by_kind():
    columns = merge([align("a b c", "a x c d", "fr")])
    _, line = render(("REF", "A"), columns, WIDE)
    assert [(line.plain[span.start : span.end], span.style) for span in line.spans] == [("X", "yellow"), ("D", "cyan")]
    _, line = render(("REF", "A"), merge([align("a b", "a", "fr")]), WIDE)
    assert [(line.plain[span.start : span.end], span.style) for span in line.spans] == [("***", "red")]


def test_different_references_cannot_share_a_line():
    with pytest.raises(ValueError, match="different references"):
        merge([align("a", "a", "fr"), align("b", "a", "fr")])


def test_empty_texts():
    assert lines("", "", "") == []
    assert lines("", "well", "") == ["REF ****", "A   WELL", "B"]
    assert lines("well", "") == ["REF well", "A   ****"]


words = st.lists(st.sampled_from(["ant", "bee", "cow", "21", "straße", "été", "你"]), max_size=8).map(" ".join)
texts = st.one_of(words, st.text(max_size=30))


@settings(max_examples=200, deadline=None)
@given(texts, texts, texts, st.sampled_from(["en", "fr", "zh"]))
def test_without_its_marks_each_line_is_its_text(reference, first, second, lang):
    columns = merge([align(reference, hypothesis, lang) for hypothesis in (first, second)])
    for row, text in enumerate((reference, first, second)):
        shown = [(cell(column, row), column[row] == column[0]) for column in columns]
        back = [word if row == 0 or equal else unmark(word) for word, equal in shown if word not in ("", MISSING)]
        joiner = "" if lang == "zh" else " "
        assert joiner.join(back) == normalise(text, lang).replace("" if lang != "zh" else " ", "")


@settings(max_examples=100, deadline=None)
@given(words, words, words, st.integers(12, 40))
def test_columns_stand_under_each_other_at_any_width(reference, first, second, width):
    printed = lines(reference, first, second, lang="fr", width=width)
    assert len(printed) % 3 == 0
    assert all(cell_len(line) <= width for line in printed)
    for block in range(0, len(printed), 3):
        starts = [{i for i in range(4, len(cells)) if cells[i] != " " and cells[i - 1] == " "} for cells in
                  map(by_cell, printed[block : block + 3])]  # fmt: skip
        assert starts[1] <= starts[0] and starts[2] <= starts[0]


def by_cell(line: str) -> str:
    """One character per terminal cell."""
    return "".join(char + "_" * (cell_len(char) - 1) for char in line)
