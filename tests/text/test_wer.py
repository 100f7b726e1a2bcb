from collections.abc import Sequence

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.wer import Errors, align, error_rate, units, word_errors, word_errors_batch


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected", "rate"),
    [
        ("the cat sat", "the cat sat", Errors(0, 0, 0, 3), 0.0),
        ("the cat sat", "the hat sat", Errors(1, 0, 0, 2), 1 / 3),
        ("the cat sat", "the sat", Errors(0, 1, 0, 2), 1 / 3),
        ("the cat sat", "the big cat sat", Errors(0, 0, 1, 3), 1 / 3),
        ("the cat sat", "a cat sat down now", Errors(1, 0, 2, 2), 1.0),
        ("the cat sat", "", Errors(0, 3, 0, 0), 1.0),
        ("hello", "hello hello hello", Errors(0, 0, 2, 1), 2.0),
        ("", "", Errors(0, 0, 0, 0), 0.0),
        ("", "twenty one", Errors(0, 0, 1, 0), 1.0),  # one number once normalised
        ("", "big cat sat", Errors(0, 0, 3, 0), 3.0),
        ("um", "big cat", Errors(0, 0, 2, 0), 2.0),  # the reference is empty once normalised
        ("The cat, sat!", "the CAT sat", Errors(0, 0, 0, 3), 0.0),
    ],
)
def test_counts_by_hand(reference, hypothesis, expected, rate):
    assert word_errors(reference, hypothesis, "en") == expected
    assert error_rate(reference, hypothesis, "en") == pytest.approx(rate)


@pytest.mark.parametrize("lang", ["zh", "ja", "zh-CN"])
def test_languages_without_spaces_count_characters(lang):
    assert word_errors("你好 世界", "你好世介。", lang) == Errors(1, 0, 0, 3)


def test_languages_with_spaces_count_words():
    assert word_errors("bonjour le monde", "bonjour monde", "fr") == Errors(0, 1, 0, 2)


def test_alignment_names_each_step():
    assert align("the cat sat", "the hat sat down", "en") == [
        ("equal", "the", "the"),
        ("substitute", "cat", "hat"),
        ("equal", "sat", "sat"),
        ("insert", None, "down"),
    ]
    assert align("a b", "", "fr") == [("delete", "a", None), ("delete", "b", None)]
    assert align("", "", "en") == []
    assert align("你好", "你", "zh") == [("equal", "你", "你"), ("delete", "好", None)]


def test_errors_add_up_over_a_corpus():
    total = sum(word_errors_batch(["a b", "", "c"], ["a x", "y", "c"], "fr"), Errors())
    assert (total.errors, total.length) == (2, 3)


def test_batch_needs_pairs():
    assert word_errors_batch([], [], "en") == []
    with pytest.raises(ValueError, match="1 references for 2"):
        word_errors_batch(["a"], ["a", "b"], "en")


words = st.lists(st.sampled_from(["ant", "bee", "cow", "dog"]), max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(words, words)
def test_counts_fit_both_texts_and_the_alignment(reference, hypothesis):
    errors = word_errors(reference, hypothesis, "en")
    assert errors.length == len(reference.split())
    assert errors.hits + errors.substitutions + errors.insertions == len(hypothesis.split())
    steps = align(reference, hypothesis, "en")
    assert [r for _, r, _ in steps if r is not None] == reference.split()
    assert [h for _, _, h in steps if h is not None] == hypothesis.split()
    assert sum(op != "equal" for op, _, _ in steps) == errors.errors
    back = word_errors(hypothesis, reference, "en")
    assert back.errors == errors.errors


@settings(max_examples=300, deadline=None)
@given(words, words, st.sampled_from(["fr", "zh"]))
def test_counts_and_alignment_are_jiwers(reference, hypothesis, lang):
    if lang == "zh":
        reference, hypothesis = reference.replace(" ", ""), hypothesis.replace(" ", "")
        output = jiwer.process_characters([reference], [hypothesis])
    else:
        output = jiwer.process_words([reference], [hypothesis])
    errors = Errors(output.substitutions, output.deletions, output.insertions, output.hits)
    assert word_errors(reference, hypothesis, lang) == errors
    longest = (max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in output.alignments[0])
    operations = [c.type for c, n in zip(output.alignments[0], longest, strict=True) for _ in range(n)]
    assert [operation for operation, _, _ in align(reference, hypothesis, lang)] == operations


def levenshtein(one: Sequence[str], other: Sequence[str]) -> int:
    """The edit distance by its definition, row by row."""
    row = list(range(len(other) + 1))
    for i, unit in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, counterpart in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (unit != counterpart))
    return row[-1]


@settings(max_examples=300, deadline=None)
@given(words, words, st.sampled_from(["fr", "zh"]))
def test_no_alignment_has_fewer_errors(reference, hypothesis, lang):
    expected = levenshtein(units(reference, lang), units(hypothesis, lang))
    assert word_errors(reference, hypothesis, lang).errors == expected
    assert sum(operation != "equal" for operation, _, _ in align(reference, hypothesis, lang)) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(words, words), max_size=5))
def test_batch_equals_one_by_one(pairs):
    together = word_errors_batch([r for r, _ in pairs], [h for _, h in pairs], "en")
    assert together == [word_errors(r, h, "en") for r, h in pairs]
