"""Precision and recall of each rule on hand-made cases (hallucination_cases.jsonl), printed and held to bounds.

A case says which rules should fire ("expected") and which may ("either": a loop also inserts words, and whether that
rule fires is neither right nor wrong). The cases marked "held_out" were written when the rules were finished.
`python -m pytest -s tests/text/test_hallucination_cases.py` prints the table of stages/reward/hallucination.md.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from arl.rewards.programs.shipped import shipped_dir
from arl.text.hallucination import RULES, fired

CASES = [json.loads(line) for line in Path(__file__).with_name("hallucination_cases.jsonl").read_text().splitlines()]
GATE = "any rule"
PRECISION, RECALL = 0.95, {"language": 0.8, "insertion": 0.9, "ngram_loop": 0.9}  # of the others 0.95


def counts(cases: list[dict]) -> dict[str, Counter[str]]:
    """{rule: {"right", "wrong", "missed"}}, and of the gate as a whole."""
    found: dict[str, Counter[str]] = {rule: Counter() for rule in (*RULES, GATE)}
    for case in cases:
        names = fired(case["hypothesis"], case["reference"], case["lang"], case["duration_s"])
        expected, either = set(case["expected"]), set(case["either"])
        for rule in RULES:
            if rule in expected:
                found[rule]["right" if rule in names else "missed"] += 1
            elif rule in names and rule not in either:
                found[rule]["wrong"] += 1
        if expected:
            found[GATE]["right" if names else "missed"] += 1
        elif names:
            found[GATE]["wrong"] += 1
    return found


def share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else 1.0


def rows() -> list[str]:
    """The table's rows: both sets of cases together, and in brackets the held-out ones alone."""
    together, held_out = counts(CASES), counts([case for case in CASES if case["held_out"]])
    lines = []
    for rule in (*RULES, GATE):
        n, h = together[rule], held_out[rule]
        lines.append(
            f"| `{rule}` | {n['right'] + n['missed']} ({h['right'] + h['missed']}) "
            f"| {share(n['right'], n['wrong']):.3f} ({share(h['right'], h['wrong']):.3f}) "
            f"| {share(n['right'], n['missed']):.3f} ({share(h['right'], h['missed']):.3f}) |"
        )
    return lines


def test_the_set_is_large_and_in_many_languages():
    assert len(CASES) >= 400 and sum(not case["expected"] for case in CASES) >= 150
    assert {"en", "zh", "ja", "ko", "es", "fr", "de", "ru", "ar", "hi", "th"} <= {case["lang"] for case in CASES}
    assert len({(case["lang"], case["reference"], case["hypothesis"]) for case in CASES}) == len(CASES)
    for rule in RULES:
        assert sum(rule in case["expected"] for case in CASES) >= 20


@pytest.mark.parametrize("rule", [*RULES, GATE])
def test_precision_and_recall(rule):
    n = counts(CASES)[rule]
    assert share(n["right"], n["wrong"]) >= PRECISION
    assert share(n["right"], n["missed"]) >= RECALL.get(rule, 0.95)


def test_the_page_has_the_measured_table():
    print("\n".join(rows()))
    page = (shipped_dir() / "reward" / "hallucination.md").read_text()
    for row in rows():
        assert row in page
