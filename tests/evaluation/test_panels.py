"""A panel of `arl report --plot` is added in one place."""

import json
from pathlib import Path
from typing import Any

import pytest

from arl.evaluation import panels
from arl.evaluation.panels import Panel, draw
from arl.evaluation.run_report import read_step

ROWS = [{"step": 1, "reward": 0.5, "kl": 0.1, "length": 9.0}, {"step": 2, "reward": 0.6, "length": 8.0}]


def test_a_panel_gets_the_fields_it_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    seen: list[Any] = []

    def draw_rate(axis: Any, rows: panels.Rows, held_out: panels.HeldOut) -> None:
        seen.append((rows, held_out, axis.get_subplotspec().get_gridspec().get_height_ratios()))

    monkeypatch.setattr(panels, "PANELS", (*panels.PANELS, Panel(draw_rate, ("lr",), height=2)))
    folder = tmp_path / "step-000001" / "update"
    folder.mkdir(parents=True)
    line = {"shard": "0", "policy": "0-a", "lr": 0.25, "reward": 1.0, "other": 1}
    (folder / "stage.jsonl").write_text(json.dumps(line) + "\n")
    row = read_step(tmp_path / "step-000001")
    assert row is not None and row["lr"] == 0.25 and "other" not in row
    draw([row], {0: {"wer": 0.5, "wer_low": 0.4, "wer_high": 0.6}}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    ((rows, held_out, heights),) = seen
    assert rows == [row] and list(held_out) == [0] and list(heights) == [3, 1, 1, 2]


def test_the_reward_stands_in_for_a_wer_that_nothing_has(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(ROWS, {}, tmp_path / "reward.svg")
    assert "reward" in (tmp_path / "reward.svg").read_text() and "WER" not in (tmp_path / "reward.svg").read_text()
    draw([row | {"sample_wer": 0.5} for row in ROWS], {}, tmp_path / "wer.svg")
    assert "WER %" in (tmp_path / "wer.svg").read_text()
