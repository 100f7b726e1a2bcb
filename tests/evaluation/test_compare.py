"""Two evaluations: pairing, known changes, significance, the utterances that moved most."""

import json
from typing import Any

import numpy as np
import pytest

from arl.errors import ArlError
from arl.evaluation import compare as comparison
from arl.evaluation.bootstrap import paired_relative
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.recognition.score import score
from arl.evaluation.significance import paired_p_value
from arl.shards.rows import Meta

most_changed = RECOGNITION.most_changed
TEXT = "leave a message after the tone"


def compare(rows: list[dict[str, Any]], baseline: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    return comparison.compare(RECOGNITION, rows, baseline, seed)


def row(key: str, hypothesis: str, name: str = "", reference: str = TEXT) -> dict[str, Any]:
    return score(name, key, Meta(reference, "en", keywords=["tone"]), hypothesis, 3.0)


def drop(n: int) -> str:
    """TEXT without its first n words: n deletions."""
    return " ".join(TEXT.split()[n:])


def test_a_steady_gain_is_significant_and_its_figures_are_known():
    old = [row(str(n), drop(2)) for n in range(12)]
    new = [row(str(n), drop(1)) for n in range(12)]
    found = compare(new, old, seed=0)
    assert (found["utterances"], found["words"], found["wer"]) == (12, 72, pytest.approx(2 / 6))
    assert found["relative"] == found["relative_low"] == found["relative_high"] == -0.5
    assert found["p"] == pytest.approx(2 / 2**12)
    deletions = found["metrics"]["deletion_rate"]
    assert (deletions["a"], deletions["b"]) == (pytest.approx(2 / 6), pytest.approx(1 / 6))
    assert deletions["change"] == pytest.approx(-1 / 6) == deletions["change_low"]
    assert found["metrics"]["keyword_f1"] == {"a": 1.0, "b": 1.0, "change": 0.0, "change_low": 0.0, "change_high": 0.0}


def test_the_relative_change_is_that_of_the_paired_bootstrap():
    old = [row(str(n), drop(1 + n % 4)) for n in range(30)]
    new = [row(str(n), drop(n % 3)) for n in range(30)]
    errors, baseline = (np.array([one["deletions"] for one in rows]) for rows in (new, old))
    expected = paired_relative(errors, baseline, seed=7)
    found = compare(new, old, seed=7)
    assert (found["relative"], found["relative_low"], found["relative_high"]) == (
        expected.value, expected.low, expected.high,
    )  # fmt: skip
    assert found["p"] == paired_p_value(errors, baseline)


def test_one_lucky_utterance_is_not():
    old = [row(str(n), TEXT) for n in range(9)] + [row("x", "")]
    new = [row(str(n), TEXT) for n in range(10 - 1)] + [row("x", TEXT)]
    found = compare(new, old, seed=0)
    assert found["relative"] == -1 and found["p"] == 1.0


def test_swapping_the_sides_turns_the_changes_round():
    old = [row(str(n), drop(n % 3)) for n in range(10)]
    new = [row(str(n), "thank you " * 9 if n == 4 else TEXT) for n in range(10)]
    there, back = compare(new, old, seed=0), compare(old, new, seed=0)
    assert there["p"] == back["p"]
    for group in ("metrics", "rules"):
        for name, one in there[group].items():
            other = back[group][name]
            assert (one["a"], one["b"]) == (other["b"], other["a"])
            assert one["change"] == pytest.approx(-other["change"])
    loop = there["rules"]["ngram_loop"]
    assert (loop["a"], loop["b"]) == (0.0, pytest.approx(0.1)) and loop["change_low"] == 0.0 < loop["change_high"]
    json.dumps(there, allow_nan=False)


def test_sets_are_compared_by_themselves_too():
    old = [row("a", drop(1), "short"), row("a", drop(3), "long"), row("b", TEXT, "long")]
    new = [row("b", TEXT, "long"), row("a", drop(1), "long"), row("a", TEXT, "short")]  # another order
    found = compare(new, old, seed=0)
    assert list(found["sets"]) == ["long", "short"]
    assert found["sets"]["long"]["metrics"]["wer"]["change"] == pytest.approx(-2 / 12)
    assert found["sets"]["short"]["relative"] == -1
    assert found["metrics"]["wer"]["change"] == pytest.approx(-3 / 18)


def test_other_utterances_or_references_are_refused():
    old = [row("a", TEXT), row("b", TEXT)]
    with pytest.raises(ArlError, match="1 utterances are in one of the two evaluations only, the first b"):
        compare(old[:1], old, seed=0)
    with pytest.raises(ArlError, match="the first short/a|the first a"):
        compare([row("a", TEXT, "short"), row("b", TEXT)], old, seed=0)
    with pytest.raises(ArlError, match="several utterances a; keys in a set must differ"):
        compare([old[0], old[0]], old, seed=0)
    with pytest.raises(ArlError, match="utterance b has another reference"):
        compare([old[0], row("b", TEXT, reference="press two")], old, seed=0)


def test_most_changed_first_in_either_direction():
    old = [row("a", TEXT), row("b", drop(1)), row("c", drop(4)), row("d", drop(2)), row("e", TEXT)]
    new = [row("a", drop(3)), row("b", drop(1)), row("c", TEXT), row("d", drop(1)), row("e", drop(3))]
    moved = most_changed(new, old, top=10)
    assert [(a["key"], b["key"]) for a, b in moved] == [("c", "c"), ("a", "a"), ("e", "e"), ("d", "d")]
    assert moved[0][0] is old[2] and moved[0][1] is new[2]
    assert len(most_changed(new, old, top=2)) == 2 and most_changed(new, old, top=0) == []
