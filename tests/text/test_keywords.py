import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.keywords import KeywordCounts, keyword_counts


@pytest.mark.parametrize(
    ("keywords", "reference", "hypothesis", "lang", "counts"),
    [
        (["Anna"], "call anna now", "Call Anna now!", "en", (1, 1, 1)),
        (["Anna"], "call anna now", "call hannah now", "en", (0, 1, 0)),
        (["Anna"], "call me now", "call anna now", "en", (0, 0, 1)),
        (["New York", "Anna"], "Anna left New York", "Hannah left New York", "en", (1, 2, 1)),
        (["New York"], "in New York", "in New old York", "en", (0, 1, 0)),
        (["New York", "York"], "New York", "New York", "en", (2, 2, 2)),
        (["Anna", "anna", "ANNA!"], "anna", "anna", "en", (1, 1, 1)),
        (["key"], "key one and key two", "key one and key two key", "en", (2, 2, 3)),
        (["key"], "key on the hook there", "on the hook there key", "en", (0, 1, 1)),
        (["colour"], "the color red", "the colour red", "en", (1, 1, 1)),
        (["Anna"], "call anna", "call (anna) anna", "en", (1, 1, 2)),
        (["ha ha"], "ha ha ha", "ha ha ha ha", "en", (1, 1, 2)),
        (["苹果", "AI"], "苹果的AI很好", "苹果的said很好", "zh", (1, 2, 1)),
        (["AI"], "用 AI 说", "用AI说", "zh", (1, 1, 1)),
        (["東京タワー"], "東京タワーに行く", "東京タワに行く", "ja", (0, 1, 0)),
        (["नई दिल्ली"], "मैं नई दिल्ली में हूँ", "मैं नई दिल्ली में हूं", "hi", (1, 1, 1)),
        (["กรุงเทพ"], "ไปกรุงเทพพรุ่งนี้", "ไปกรุงเทพวันนี้", "th", (1, 1, 1)),
        (["Москва"], "Москва большая", "москва больше", "ru", (1, 1, 1)),
        ([], "anything", "anything", "en", (0, 0, 0)),
        (["...", ""], "anything", "anything", "en", (0, 0, 0)),
        (["Anna"], "", "anna", "en", (0, 0, 1)),
    ],
)
def test_counts_by_hand(keywords, reference, hypothesis, lang, counts):
    assert keyword_counts(keywords, reference, hypothesis, lang) == KeywordCounts(*counts)


def test_rates_are_none_where_undefined():
    none = KeywordCounts()
    assert (none.recall, none.precision, none.f1) == (None, None, None)
    missed, extra = KeywordCounts(0, 2, 0), KeywordCounts(0, 0, 2)
    assert (missed.recall, missed.precision, missed.f1) == (0.0, None, 0.0)
    assert (extra.recall, extra.precision, extra.f1) == (None, 0.0, 0.0)
    total = KeywordCounts(1, 1, 1) + missed + extra
    assert (total.recall, total.precision, total.f1) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


words = st.lists(st.sampled_from(["ant", "bee", "cow"]), max_size=8).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(words, max_size=3), words, words, st.sampled_from(["en", "fr", "zh"]))
def test_matched_occurrences_are_in_both_texts(keywords, reference, hypothesis, lang):
    counts = keyword_counts(keywords, reference, hypothesis, lang)
    assert 0 <= counts.matched <= min(counts.in_reference, counts.in_hypothesis)
    same = keyword_counts(keywords, reference, reference, lang)
    assert same.matched == same.in_reference == same.in_hypothesis
