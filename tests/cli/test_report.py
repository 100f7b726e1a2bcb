"""`arl report` over records as a loop leaves them."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.report import report
from arl.errors import ArlError, UsageError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)


def record(folder: Path, **fields: Any) -> None:
    folder.mkdir(parents=True)
    line = {"shard": "000000", "seconds": {"load": 1.0, "run": 2.5}, **fields}
    (folder / "stage.jsonl").write_text(json.dumps(line) + "\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two finished steps, of which the loop has removed the first policy; the third has no update yet."""
    for number, place in ((1, "update"), (2, "policy"), (3, None)):
        step = tmp_path / f"step-{number:06d}"
        record(step / "rollout", tokens_per_s=210.5, truncated=3)
        record(step / "reward")
        if place:
            figures = {"reward": 0.5 + number / 10, "reward_wer": 0.75, "kl": 0.01, "length": 17.0, "lr": 1e-5}
            record(step / place, policy=f"00000{number - 1}-abc", **figures)
            record(step / "sync")
    for name, wer in (("000000", 0.3), ("000002", 0.25), ("final", 0.2)):
        (tmp_path / "eval" / name).mkdir(parents=True)
        summary = {"wer": wer, "wer_low": wer - 0.02, "wer_high": wer + 0.03}
        (tmp_path / "eval" / name / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def lines(run: Path, *flags: str) -> list[str]:
    result = CliRunner().invoke(app, ["--run", str(run), *flags], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def test_a_line_per_finished_step(run):
    first, second = lines(run)
    assert first.startswith("step    1  reward 0.600  WER 0.250  KL 0.0100  length 17.0")
    assert first.endswith("| seconds: rollout 3.5 reward 3.5 update 3.5 sync 3.5")
    assert second.startswith("step    2  reward 0.700")


def test_json(run):
    first, second = map(json.loads, lines(run, "--json"))
    assert first["policy"] == "000000-abc" and second["step"] == 2
    assert first["sample_wer"] == 0.25 and first["tokens_per_s"] == 210.5 and first["truncated"] == 3
    assert first["seconds"] == {"rollout": 3.5, "reward": 3.5, "update": 3.5, "sync": 3.5}
    assert "lr" not in first


def test_one_step(run):
    assert len(lines(run, "--step", "2")) == 1
    for step in ("3", "9"):
        with pytest.raises(ArlError, match="no finished step there"):
            lines(run, "--step", step)


def test_an_empty_run(tmp_path):
    with pytest.raises(ArlError, match=f"{tmp_path}: no finished step there"):
        lines(tmp_path)


def test_plot(run, tmp_path):
    pytest.importorskip("matplotlib")
    lines(run, "--plot", str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_run_whose_reward_is_not_the_wer(tmp_path):
    pytest.importorskip("matplotlib")
    record(tmp_path / "step-000001" / "update", policy="000000-abc", reward=1.5, length=3.0)
    assert lines(tmp_path, "--plot", str(tmp_path / "curve.svg"))[0].startswith("step    1  reward 1.500  length 3.0")
    assert "reward" in (tmp_path / "curve.svg").read_text()


def test_groups_with_reward_variance(tmp_path):
    """The last line of each shard counts: the first was done anew."""
    lines_of_reward = [("000000", 4, 4), ("000001", 4, 1), ("000000", 4, 2)]
    (tmp_path / "step-000003" / "reward").mkdir(parents=True)
    (tmp_path / "step-000003" / "reward" / "stage.jsonl").write_text(
        "".join(json.dumps({"shard": s, "groups": n, "zero_spread": z}) + "\n" for s, n, z in lines_of_reward)
    )
    assert lines(tmp_path, "--step", "3", "--groups") == ["5"]
    with pytest.raises(UsageError, match="give --step"):
        lines(tmp_path, "--groups")
