"""Disagreement between systems, hallucination rules, and what is said when nothing is hard."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.data.mining.hard import advice, hard, hardness, measure, most_disagreeing
from arl.errors import ArlError
from arl.runtime.budget import FailureBudget
from arl.text.hallucination import RULES
from arl.text.wer import word_errors
from tests.data.mining.clips import candidate

TEXTS = st.lists(st.sampled_from(["go", "home", "now", "anna"]), max_size=6).map(" ".join)
HEARD = st.dictionaries(st.sampled_from("abc"), st.lists(TEXTS, min_size=1, max_size=3), min_size=1)


def test_by_hand() -> None:
    assert most_disagreeing({"a": ["go home"], "b": ["go home home"]}, "en") == (pytest.approx(1 / 3), ("a", "b"))
    assert most_disagreeing({"a": ["Go home!"], "b": ["go, home"]}, "en") == (0.0, ("a", "b"))
    assert most_disagreeing({"a": [""], "b": ["go"]}, "en")[0] == 1
    assert most_disagreeing({"a": [""], "b": [""]}, "en")[0] == 0
    assert most_disagreeing({"a": ["go home"]}, "en") == (0.0, ())


def test_the_most_disagreeing_pair_counts() -> None:
    heard = {"a": ["red blue green pink"], "b": ["red blue green pine"], "c": ["blue"]}
    assert most_disagreeing(heard, "en") == (0.75, ("a", "c"))


def test_several_hypotheses_are_averaged_and_disagree_among_themselves() -> None:
    heard = {"a": ["red blue", "red blew", "red blue"], "b": ["red blue"]}
    value, between = most_disagreeing(heard, "en")
    assert between == ("a", "a") and value == pytest.approx(0.5 * 2 / 3)
    assert most_disagreeing({"a": ["red blue"] * 2, "b": ["red blue", "read blue"]}, "en")[1] == ("b", "b")


def test_characters_where_words_are_not_written_apart() -> None:
    assert most_disagreeing({"a": ["今天天气"], "b": ["今天天汽"]}, "zh")[0] == 0.25
    assert most_disagreeing({"a": ["今天天气"], "b": ["今天天汽"]}, "de")[0] == 1


@settings(deadline=None)  # the first call imports
@given(HEARD)
def test_symmetric_and_bounded(heard: dict[str, list[str]]) -> None:
    value, between = most_disagreeing(heard, "en")
    turned = {name: list(reversed(texts)) for name, texts in reversed(heard.items())}
    assert bool(between) == (sum(map(len, heard.values())) > 1)
    assert most_disagreeing(turned, "en")[0] == pytest.approx(value)
    assert 0 <= value <= 1
    if all(len({*texts}) == 1 for texts in heard.values()) and len({texts[0] for texts in heard.values()}) == 1:
        assert value == 0


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_it_is_the_error_count_over_the_longer_text(first: str, second: str) -> None:
    errors = word_errors(first, second, "en").errors
    longer = max(len(first.split()), len(second.split()), 1)
    assert most_disagreeing({"a": [first], "b": [second]}, "en")[0] == pytest.approx(errors / longer)


def test_rules_fire_on_any_hypothesis_and_are_counted() -> None:
    loop = "thank you " * 8
    found = hardness(candidate("k", "thank you", duration_s=9.0), {"a": ["thank you", loop, loop]}, RULES)
    assert found.rules["a"]["ngram_loop"] == 2
    assert found.reason()["rules"] == found.rules and found.reason()["between"] == ["a", "a"]
    only = hardness(candidate("k", "thank you", duration_s=9.0), {"a": [loop]}, ["char_loop"])
    assert only.rules == {} and only.reason() == {}
    assert hardness(candidate("k", "thank you"), {"a": ["thank you"]}, RULES).rules == {}


def test_the_threshold_is_a_strict_one() -> None:
    found = measure(
        [candidate("x", "red blue green pink"), candidate("y", "red blue")],
        {
            "a": {"x": ["red blue green pine"], "y": ["red blue"]},
            "b": {"x": ["red blue green pink"], "y": ["red blue"]},
        },
        RULES,
        FailureBudget(0),
    )
    assert set(hard(found, 0.2)) == {"x"} and hard(found, 0.25) == {}
    assert hard(found, 0.2)["x"] == {"disagreement": 0.25, "between": ["a", "b"]}


def test_missing_transcripts_are_bad_samples() -> None:
    pool = [candidate("x"), candidate("y"), candidate("z")]
    systems = {"a": {"x": ["x"], "y": ["why"], "z": ["z"]}, "b": {"y": ["y"], "other": ["o"]}}
    with pytest.raises(ArlError, match="system 'b' has no transcript for sample 'x' of x.tar"):
        measure(pool, systems, RULES, FailureBudget(0))
    budget = FailureBudget(2)
    assert set(measure(pool, systems, RULES, budget)) == {"y"} and budget.count == 2
    with pytest.raises(ArlError, match="'c' has no transcript of any of the 3 .*'other', they are like 'x'"):
        measure(pool, {"c": {"other": ["o"]}}, RULES, FailureBudget(9))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "red blue", "red blue green", "tall oak pink"]), min_size=1, max_size=5))
def test_the_advised_threshold_gives_as_many_as_said(texts: list[str]) -> None:
    pool = [candidate(f"k{n}", "red blue green") for n in range(len(texts))]
    systems = {
        "a": {each.key: ["red blue green"] for each in pool},
        "b": {each.key: [text] for each, text in zip(pool, texts, strict=True)},
    }
    found = measure(pool, systems, (), FailureBudget(0))
    advised = advice(found, 1.0)
    if "--disagree" in advised:
        threshold, count = float(advised.split("--disagree ")[1].split()[0]), int(advised.split()[-1])
        assert len(hard(found, threshold)) == count > 0
    else:
        assert set(texts) == {"red blue green"} and "agree on everything" in advised
    assert "another --system, or --hyps all" in advice(measure(pool, {"a": systems["a"]}, (), FailureBudget(0)), 0.3)
