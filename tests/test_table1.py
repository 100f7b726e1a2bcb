"""Table 1: its figures on hand-made evaluations, its plan as make sees it, and a toy run with the engine."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arl.errors import ArlError
from arl.evaluation.folder import write
from arl.evaluation.score import score
from arl.text.bootstrap import paired_relative, rate_interval
from examples.asr import table1

ROOT = Path(__file__).resolve().parent.parent
REFERENCES = {
    "short": [f"press {word} now" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")],
    "long": [f"your call to {word} is number {word} in the line" for word in ("anna", "bert", "carl", "dora")],
}


def evaluation(folder: Path, wrong: dict[str, list[int]], said: str = "stop") -> None:
    """An `arl eval` folder in which the last word of the utterances `wrong` is `said`."""
    rows: list[dict[str, Any]] = []
    for name, references in REFERENCES.items():
        for number, text in enumerate(references):
            heard = text if number not in wrong.get(name, []) else f"{text.rpartition(' ')[0]} {said}"
            meta = {"text": text, "lang": "en", "keywords": [text.split()[1]]}
            rows.append(score(name, f"{name}-{number}", meta, heard, 2.0))
    write(folder, rows, {})


def make_runs(runs: Path) -> Path:
    evaluation(runs / "base", {"short": [0, 1, 2, 3], "long": [0, 1]})
    for seed, wrong in enumerate(([0], [0, 1], [1])):
        evaluation(runs / "Rall-Dall" / str(seed) / "final", {"short": wrong, "long": [0]})
        evaluation(runs / "R1-D0" / str(seed) / "final", {"short": [0, 1, 2, 3], "long": [0, 1, 2]})
    return runs


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_figures_are_pooled_over_seeds_and_paired_with_the_base(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    text = table1.markdown(table1.read_arms(runs))
    base, whole = cells(text, "base"), cells(text, "R_all / D_all")
    assert base[1].startswith("16.67 (") and base[2:4] == ["–", "–"]  # 4 of 24 words
    assert whole[1].startswith("5.56 (") and whole[3] == "4.2 8.3 4.2"  # (1 + 2 + 1) / 3 of 24 words
    assert whole[2].startswith("-66.7 (") and whole[5].startswith("-50.0 (")
    assert cells(text, "R1 / D0")[5].startswith("+50.0 (")
    assert text.index("| R1 / D0 |") < text.index("| R_all / D_all |")
    assert "Set `short`: 8 utterances, 24 words." in text and "Set `long`: 4 utterances, 40 words." in text


def test_with_one_seed_the_intervals_are_those_of_eval() -> None:
    rng = np.random.default_rng(0)
    names = table1.all_columns()
    counts = np.zeros((2, 1, 60, len(names)), dtype=np.int64)
    counts[..., names.index("hits")] = 5
    counts[..., names.index("insertions")] = rng.integers(0, 4, (2, 1, 60))
    ours, base = counts
    wer = table1.BY_NAME["wer"]
    errors, old, words = (each[0, :, names.index(name)] for each, name in
                          ((ours, "insertions"), (base, "insertions"), (ours, "hits")))  # fmt: skip
    pairs = [
        (table1.pooled(ours, wer), rate_interval(errors, words)),
        (table1.change(ours, base, wer), paired_relative(errors, old)),
    ]
    for found, expected in pairs:
        assert found is not None and found.value == pytest.approx(expected.value)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_seeds_that_differ_widen_the_interval() -> None:
    names = table1.all_columns()
    counts = np.zeros((3, 40, len(names)), dtype=np.int64)
    counts[..., names.index("hits")] = 5
    same, different = counts.copy(), counts.copy()
    same[..., names.index("insertions")] = 2
    different[..., names.index("insertions")] = np.array([1, 2, 3])[:, None]
    wer = table1.BY_NAME["wer"]
    one, other = table1.pooled(same, wer), table1.pooled(different, wer)
    assert one is not None and other is not None and one.value == other.value == pytest.approx(0.4)
    assert one.high - one.low < 1e-9 and (other.low, other.high) == pytest.approx((0.2, 0.6))


def test_evaluations_of_other_utterances_are_refused(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    folder = runs / "R1-D0" / "1" / "final"
    lines = (folder / "utterances.jsonl").read_text().splitlines(keepends=True)
    (folder / "utterances.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(ArlError, match="R1-D0/1/final: not the utterances of the base's evaluation"):
        table1.read_arms(runs)
    with pytest.raises(ArlError, match="no finished run"):
        evaluation(tmp_path / "empty" / "base", {})
        table1.read_arms(tmp_path / "empty")


def test_command_writes_markdown_and_picture(tmp_path: Path) -> None:
    runs = make_runs(tmp_path / "runs")
    table1.main(runs, tmp_path / "T.md", tmp_path / "t.png")
    assert "| R_all / D_all |" in (tmp_path / "T.md").read_text()
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def planned(*values: str) -> str:
    done = subprocess.run(["make", "-n", "table1", *values], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
