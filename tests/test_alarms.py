"""Warnings when something falls while the reward rises, on records made by hand."""

import json

import numpy as np
import pytest

from arl.alarms import WATCHED, WINDOW, alarms, trend, watched
from arl.report import read_step, report, warnings

UP, DOWN, FLAT = np.linspace(0.4, 0.6, WINDOW), np.linspace(0.8, 0.7, WINDOW), np.full(WINDOW, 0.8)


def steps(reward, **figures):
    names = {name.replace(" ", "_"): name for name in WATCHED}
    return [
        {"reward": r} | {names[key]: values[i] for key, values in figures.items()} for i, r in enumerate(reward)
    ]  # fmt: skip


@pytest.mark.parametrize("name", WATCHED)
def test_each_figure_that_falls_is_named(name):
    (found,) = alarms(steps(UP, **{name.replace(" ", "_"): DOWN}))
    assert found == f"{name} fell 0.8 → 0.7 over 8 steps while the reward rose 0.4 → 0.6"


@pytest.mark.parametrize(
    ("reward", "similarity"),
    [
        (UP, FLAT),
        (UP, UP),
        (DOWN, DOWN),
        (FLAT, DOWN),
        (UP, np.linspace(0.80, 0.77, WINDOW)),  # less than 5 %
        (UP, DOWN + 0.06 * np.array([1, -1] * (WINDOW // 2))),  # within its scatter
        (UP + 0.2 * np.array([1, -1] * (WINDOW // 2)), DOWN),
        (UP[1:], DOWN[1:]),  # too few steps
    ],
)
def test_no_alarm(reward, similarity):
    assert alarms(steps(reward, similarity=similarity)) == []


def test_only_the_last_steps_count():
    reward, similarity = np.concatenate([UP, UP]), np.concatenate([DOWN, FLAT])
    assert alarms(steps(reward, similarity=similarity)) == []
    assert len(alarms(steps(np.concatenate([DOWN, UP]), similarity=np.concatenate([FLAT, DOWN])))) == 1


def test_a_missing_figure_is_not_watched():
    found = steps(UP, similarity=DOWN)
    del found[3]["similarity"]
    assert alarms(found) == []
    assert alarms([{}] * WINDOW) == []


def test_noise_seldom_alarms():
    rng = np.random.default_rng(0)
    fired = sum(bool(alarms(steps(*rng.normal(0.8, 0.3, (1, WINDOW)), similarity=rng.normal(0.8, 0.3, WINDOW))))
                for _ in range(4000))  # fmt: skip
    assert fired <= 16  # about 1 in 1,000


def test_the_line():
    assert trend([1.0, 2.0, 3.0, 4.0]) == pytest.approx((1.0, 4.0, 0.0))
    values = np.random.default_rng(0).normal(size=9)
    slope, offset = np.polyfit(range(9), values, 1)
    residual = values - (slope * np.arange(9) + offset)
    expected = (offset, offset + 8 * slope, np.sqrt((residual**2).sum() / 7))
    assert trend(list(values)) == pytest.approx(expected)


def test_the_report_warns_below_the_line_of_the_step(tmp_path):
    import typer
    from typer.testing import CliRunner

    for step in range(WINDOW):
        folder = tmp_path / f"step-{step + 1:06d}"
        shards = [
            {"shard": f"00000{shard}", "hypotheses": 10 * (1 + shard), "reward_mean": UP[step] - (2 - 3 * shard) / 10,
             "component_means": {"similarity": DOWN[step]}, "metric_means": {"diversity-2.pitch": FLAT[step]}}
            for shard in range(2)
        ]  # fmt: skip
        for stage, lines in (("reward", shards), ("update", [{"shard": "x", "policy": "000001-abc", "reward": 0.5}])):
            (folder / stage).mkdir(parents=True)
            (folder / stage / "stage.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    last = tmp_path / f"step-{WINDOW:06d}"
    assert watched(last) == pytest.approx({"reward": UP[-1] + (-2 + 2) / 30, "similarity": 0.7, "F0 std": 0.8})
    assert warnings(tmp_path / f"step-{WINDOW - 1:06d}") == {} and "alarms" not in (read_step(last) or {})
    app = typer.Typer()
    app.command()(report)
    shown = CliRunner().invoke(app, ["--run", str(tmp_path)], catch_exceptions=False).stdout.splitlines()
    assert len(shown) == WINDOW + 1 and shown[-2].startswith(f"step    {WINDOW}")
    assert shown[-1] == "  warning: similarity fell 0.8 → 0.7 over 8 steps while the reward rose 0.4 → 0.6"
    one = CliRunner().invoke(app, ["--run", str(tmp_path), "--step", str(WINDOW), "--json"], catch_exceptions=False)
    assert json.loads(one.stdout)["alarms"] == [shown[-1].removeprefix("  warning: ")]
