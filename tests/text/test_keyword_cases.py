"""The keyword counts against a person's on hand-made cases (keyword_cases.jsonl), printed and held to bounds.

A case says how many occurrences the reference has ("said"), how many of them a person calls recognised, and how many
of the hypothesis are made up. What the counts miss (other spellings of one word) stays in the set.
`python -m pytest -s tests/text/test_keyword_cases.py` prints the table of stages/reward/keyword.md.
"""

import json
from collections import Counter
from pathlib import Path

from arl.rewards.programs.shipped import shipped_dir
from arl.text.keywords import keyword_counts

CASES = [json.loads(line) for line in Path(__file__).with_name("keyword_cases.jsonl").read_text().splitlines()]


def measured() -> dict[str, Counter[str]]:
    """{what is counted: {"right", "wrong", "missed"}}"""
    found = {name: Counter[str]() for name in ("recognised", "made up")}
    for case in CASES:
        counts = keyword_counts(case["keywords"], case["reference"], case["hypothesis"], case["lang"])
        pairs = {
            "recognised": (counts.matched, case["recognised"]),
            "made up": (counts.in_hypothesis - counts.matched, case["made_up"]),
        }
        for name, (ours, persons) in pairs.items():
            right = min(ours, persons)
            found[name].update(right=right, wrong=ours - right, missed=persons - right)
    return found


def rows() -> list[str]:
    lines = []
    for name, n in measured().items():
        precision, recall = n["right"] / (n["right"] + n["wrong"]), n["right"] / (n["right"] + n["missed"])
        lines.append(f"| {name} | {n['right'] + n['missed']} | {precision:.3f} | {recall:.3f} |")
    return lines


def test_precision_and_recall():
    n = measured()
    assert n["recognised"]["wrong"] == 0
    assert n["recognised"]["right"] >= 0.8 * (n["recognised"]["right"] + n["recognised"]["missed"])
    assert n["made up"]["right"] >= 0.9 * (n["made up"]["right"] + n["made up"]["missed"])


def test_the_page_has_the_measured_table():
    print("\n".join(rows()))
    page = (shipped_dir() / "reward" / "keyword.md").read_text()
    for row in rows():
        assert row in page
