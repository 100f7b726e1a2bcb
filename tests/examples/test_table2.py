"""Table 2 and Figure 3: their figures on hand-made evaluations, their plan as make sees it, and a toy run."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from arl.errors import ArlError
from arl.evaluation.folder import write
from arl.evaluation.summary import summarise
from arl.evaluation.synthesis.kind import SYNTHESIS
from arl.evaluation.synthesis.measure import sums_of
from arl.models.token_asr import model as token_asr
from arl.policy import Policy
from arl.shards.columns import dumps
from examples.tts import fig3, table2
from tests.examples.tables import ROOT, cells, planned, stop_all
from tests.tiny_tts import CODES, make_tiny_tts_policy

TEXTS = [f"press {word} now" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")]


def evaluation(folder: Path, wrong: list[int], similarity: float = 0.8, seconds: float = 2.0) -> None:
    """An `arl eval` folder of one sample a text, in which the last word of the texts `wrong` is another."""
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(TEXTS):
        heard = f"{text.rpartition(' ')[0]} stop" if number in wrong else text
        hyp = {"finish": "stop", "tokens": 50, "token_diversity": 0.5, "seconds": seconds, "heard": heard}
        row = {"key": f"t{number}", "reference": text, "lang": "en", "hyps": [hyp | {"similarity": similarity}]}
        rows.append(row | {"sums": sums_of(row)})
    write(folder, rows, summarise(SYNTHESIS, rows, 0))


def make_runs(runs: Path) -> Path:
    evaluation(runs / "base", [0, 1, 2, 3])
    for seed, wrong in enumerate(([0], [0, 1], [1])):
        evaluation(runs / "filter-R12" / str(seed) / "final", wrong, similarity=0.7, seconds=2.2)
        evaluation(runs / "grpo-R1" / str(seed) / "final", [0, 1, 2])
    return runs


def test_figures_are_pooled_over_seeds_and_paired_with_the_base(tmp_path: Path) -> None:
    text = table2.markdown(table2.read_arms(make_runs(tmp_path)))
    base, whole = cells(text, "base"), cells(text, "GRPO + DiffRO + filter, R1,2")
    assert base[1].startswith("16.67 (") and base[2:4] == ["–", "–"]  # 4 of 24 words
    assert whole[1].startswith("5.56 (") and whole[3] == "4.2 8.3 4.2"  # (1 + 2 + 1) / 3 of 24 words
    assert whole[2].startswith("-66.7 (") and whole[4].startswith("70.00 (") and whole[5].startswith("+10.0 (")
    assert text.index("| GRPO, R1 |") < text.index("| GRPO + DiffRO + filter, R1,2 |")
    assert "| GRPO + DiffRO + filter, R1,2 | GRPO, R1 | -55.6 (" in text
    assert text.startswith("8 held-out texts, 1 samples of each")


def test_evaluations_of_other_texts_are_refused(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    path = runs / "grpo-R1" / "1" / "final" / "utterances.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ArlError, match="grpo-R1/1/final: not the utterances of the base's evaluation"):
        table2.read_arms(runs)


def test_commands_write_markdown_and_pictures(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text(f"# Results\n\n{table2.BEGIN}\nold\n{table2.END}\n\nmore\n")
    table2.main(make_runs(tmp_path / "runs"), page, tmp_path / "t.png")
    text = page.read_text()
    assert text.startswith("# Results\n") and text.endswith(f"{table2.END}\n\nmore\n") and "old" not in text
    assert "| GRPO, R1 |" in text and (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")

    long = tmp_path / "long" / "grpo-R1"
    for step, wrong in ((0, [0, 1, 2, 3]), (2, [0])):
        evaluation(long / "eval" / ("final" if step else "000000"), wrong)
    for step in (1, 2):
        record = long / f"step-{step:06d}" / "reward" / "stage.jsonl"
        record.parent.mkdir(parents=True)
        line = {"stage": "reward", "shard": "0", "hypotheses": 4, "component_means": {"asr": 0.25 * step}}
        record.write_bytes(dumps(line) + b"\n")
    assert fig3.read_run(long)[0] == {1: 0.25, 2: 0.5} and list(fig3.read_run(long)[1]) == [0, 2]
    page.write_text(f"{text}\n{fig3.BEGIN}\nold\n{fig3.END}\n")
    fig3.main(tmp_path / "long", page, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    before, _, after = page.read_text().partition(fig3.BEGIN)
    assert before == f"{text}\n" and "(f.png)" in after and "old" not in after
    figures = cells(after, "GRPO, R1")
    assert figures[1].startswith("16.7 (") and figures[2].startswith("4.2 (")


def runs_planned(*words: str) -> list[str]:
    return [line for line in planned(*words).splitlines() if line.startswith("make --no-print-directory loop")]


def test_the_full_table_is_planned(tmp_path: Path) -> None:
    runs = runs_planned("table2", f"T2={tmp_path}")
    assert len(runs) == 6 * 3 and len({line.split(" STEPS=")[1] for line in runs}) == 1  # the same budget
    losses = {line.split("/runs/")[1].split("/")[0]: line.split(" LOSS=")[1].split()[0] for line in runs}
    assert losses == {
        "diffro-R1": "diffro", "grpo-R1": "grpo", "combined-R1": "combined", "filter-R1": "combined",
        "filter-R12": "combined", "filter-R123": "combined",
    }  # fmt: skip
    assert all(("NO_FILTER=1" in line) == ("combined-R1" in line) for line in runs)
    assert all("REWARDS=R123 " in line for line in runs if "filter-R123" in line)
    assert len(runs_planned("fig3", f"T2={tmp_path}")) == 4
    assert len(runs_planned("table2", "QUICK=1", f"T2={tmp_path}")) == 2


@pytest.mark.engine
def test_the_quick_table_runs(tmp_path: Path) -> None:
    """All of it with a random policy: data, an arm, the judge's evaluations, the page."""
    t2, environment = tmp_path / "t2", {**os.environ, "ARL_THREADS": "1", "OMP_NUM_THREADS": "1"}
    start = make_tiny_tts_policy(tmp_path / "start")
    torch.manual_seed(0)
    token_asr.save(token_asr.TokenAsr(CODES, width=16, heads=2, layers=1), tmp_path / "token-asr")
    settings = [f"T2={t2}", f"T2_START={start}", f"TOKEN_ASR={tmp_path / 'token-asr'}"]
    try:
        for _ in range(2):
            done = subprocess.run(
                ["make", "table2", "QUICK=1", "T2_ARMS=filter-R12", *settings],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    finally:
        stop_all(t2)
    assert "step    " not in done.stdout + done.stderr  # nothing was done twice
    assert len(cells((t2 / "TABLE2.md").read_text(), "GRPO + DiffRO + filter, R1,2")) == 6
    run = t2 / "runs/filter-R12/0"
    assert Policy.open(run / "step-000002/policy").version != Policy.open(start).version
    assert (run / "eval/final/samples/000.flac").is_file()
    page = (run / "report.html").read_text()
    assert page.count("data:audio/flac") >= 2 and page.count("data:image/png") >= 2  # before and after
