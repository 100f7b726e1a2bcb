"""Rows and metrics of hand-made utterances whose numbers can be counted on paper."""

import json
from typing import Any

import numpy as np
import pytest

from arl.errors import ArlError
from arl.evaluation.bootstrap import rate_interval
from arl.evaluation.metric import table
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.recognition.metrics import METRICS, RULE_METRICS
from arl.evaluation.recognition.score import score
from arl.evaluation.summary import summarise
from arl.shards.rows import Meta
from arl.text.hallucination import RULES
from arl.text.keywords import KeywordCounts

summary_of = RECOGNITION.summary
LOOP = "thank you " * 8


def row(name: str, key: str, reference: str, hypothesis: str, lang: str = "en", **meta: Any) -> dict[str, Any]:
    return score(name, key, Meta(reference, lang, **meta), hypothesis, meta.get("duration_s"))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Two sets: 3 + 2 utterances, 8 + 6 reference words."""
    return [
        row("short", "a", "press any key", "press any key"),
        row("short", "b", "leave a message", "leave the", duration_s=1.5),  # 1 substitution, 1 deletion
        row("short", "c", "thank you", LOOP, duration_s=1.0),  # 14 insertions, a loop
        row("names", "a", "anna left new york", "anna left york", keywords=["New York", "Anna"]),  # 1 deletion
        row("names", "d", "hello bob", "hello anna", keywords=["Anna", "Bob"]),  # 1 substitution
    ]


def test_a_row_has_both_texts_and_every_count(rows):
    found = rows[1]
    assert (found["set"], found["key"], found["duration_s"]) == ("short", "b", 1.5)
    assert [found[name] for name in ("substitutions", "deletions", "insertions", "hits")] == [1, 1, 0, 1]
    assert found["alignment"][1] == ("substitute", "a", "the") or found["alignment"][1] == ("delete", "a", None)
    assert rows[2]["rules"][0] == "ngram_loop" and not found["rules"]
    assert [rows[3][f"keywords_{name}"] for name in ("matched", "in_reference", "in_hypothesis")] == [1, 2, 1]
    json.dumps(rows)


def test_words_hidden_in_brackets_count_as_in_the_reward():
    found = row("", "a", "press two", "press two (thank you)")
    assert found["insertions"] == 2 and found["hypothesis"] == "press two (thank you)"
    assert [step[0] for step in found["alignment"]] == ["equal", "equal", "insert", "insert"]


def test_the_metrics_of_a_set_by_hand(rows):
    short = summary_of(rows[:3], seed=0)
    assert (short["utterances"], short["words"], short["correct_utterances"]) == (3, 8, 1)
    assert (short["substitutions"], short["deletions"], short["insertions"]) == (1, 1, 14)
    assert short["wer"] == pytest.approx(16 / 8)
    assert short["substitution_rate"] == short["deletion_rate"] == pytest.approx(1 / 8)
    assert short["insertion_rate"] == pytest.approx(14 / 8)
    assert short["hallucinated"] == 1 and short["hallucination_rate"] == pytest.approx(1 / 3)
    assert short["rules"]["ngram_loop"]["utterances"] == 1
    assert short["rules"]["script"] == {"utterances": 0, "rate": 0.0, "rate_low": 0.0, "rate_high": 0.0}
    for name in ("keyword_recall", "keyword_precision", "keyword_f1"):
        assert short[name] is short[f"{name}_low"] is short[f"{name}_high"] is None


def test_keywords_of_a_set_are_those_of_their_counts(rows):
    names = summary_of(rows[3:], seed=0)
    total = KeywordCounts(1, 2, 1) + KeywordCounts(0, 1, 1)
    assert names["keyword_recall"] == total.recall and names["keyword_precision"] == total.precision
    assert names["keyword_f1"] == total.f1 == pytest.approx(2 / 5)
    assert names["keyword_f1_low"] <= names["keyword_f1"] <= names["keyword_f1_high"]


def test_a_summary_has_all_and_each_set(rows):
    summary = summarise(RECOGNITION, rows, seed=1)
    assert list(summary["sets"]) == ["short", "names"]
    assert summary["words"] == 14 and summary["wer"] == pytest.approx(18 / 14)
    assert summary["sets"]["short"] == summary_of(rows[:3], seed=1)
    json.dumps(summary, allow_nan=False)


def test_the_interval_of_the_wer_is_the_bootstraps(rows):
    many = [{**one, "key": str(n)} for n in range(20) for one in rows]
    errors, words = table([METRICS[0]], many)[:, 0].T
    expected = rate_interval(errors, words, seed=4)
    found = summary_of(many, seed=4)
    assert (found["wer"], found["wer_low"], found["wer_high"]) == (expected.value, expected.low, expected.high)
    assert summary_of(many, seed=4) == found != summary_of(many, seed=5)


def test_ratios_that_some_draws_do_not_define():
    rows = [row("", str(n), "good day", "good day") for n in range(3)]
    rows.append(row("", "k", "good day anna", "good day anna", keywords=["Anna"]))
    found = summary_of(rows, seed=0)  # about a third of the draws have no keyword at all
    assert found["keyword_recall"] == found["keyword_recall_low"] == found["keyword_recall_high"] == 1.0


def test_every_rate_lies_in_its_interval_and_adds_up(rows):
    rng = np.random.default_rng(0)
    many = [{**rows[i], "key": str(n)} for n, i in enumerate(rng.integers(0, len(rows), 60))]
    found = summary_of(many, seed=0)
    for metric in METRICS:
        assert found[f"{metric.name}_low"] <= found[metric.name] <= found[f"{metric.name}_high"]
    parts = [found[f"{name}_rate"] for name in ("substitution", "deletion", "insertion")]
    assert found["wer"] == pytest.approx(sum(parts))
    assert max(rule["rate"] for rule in found["rules"].values()) <= found["hallucination_rate"]


def test_languages_count_characters_or_words():
    rows = [
        row("", "a", "press two", "press", "en-US"),
        row("", "b", "你好世界", "你好世", "zh"),
        row("", "c", "a", "a", "en"),
    ]
    found = summary_of(rows, seed=0)["languages"]
    assert list(found) == ["en", "zh"]
    assert (found["en"]["wer"], found["en"]["length"], found["en"]["unit"]) == (pytest.approx(1 / 3), 3, "words")
    assert (found["zh"]["wer"], found["zh"]["length"], found["zh"]["unit"]) == (0.25, 4, "characters")


def test_a_set_without_speech_has_no_error_rate_but_hallucinations(rows):
    noise = [row("noise", "n", "", "thank you"), row("noise", "m", "", "")]
    summary = summarise(RECOGNITION, [*rows, *noise], seed=0)
    assert summary["sets"]["noise"]["wer"] is None
    assert summary["sets"]["noise"]["hallucination_rate"] == 0.5
    with pytest.raises(ArlError, match="no utterance with reference words"):
        summarise(RECOGNITION, noise, seed=0)
    with pytest.raises(ArlError, match="no utterance"):
        summarise(RECOGNITION, [], seed=0)


def test_a_metric_per_rule():
    assert RECOGNITION.metrics[-len(RULES) :] == RULE_METRICS
    assert [metric.name for metric in RULE_METRICS] == list(RULES)
