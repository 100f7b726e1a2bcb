"""Warnings of a gamed reward, on series made by hand."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.report import report
from arl.evaluation.alarms import WATCHED, alarms, drift, trend, warning
from arl.evaluation.run_report import watched_means

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)


def rows(
    rewards: list[float], name: str = "similarity", values: list[float | None] | None = None
) -> list[dict[str, Any]]:
    values = values or [0.8] * len(rewards)
    return [
        {"step": step, "reward": reward, "watched": {name: value}}
        for step, (reward, value) in enumerate(zip(rewards, values, strict=True), 1)
    ]


def line(first: float, slope: float, n: int) -> list[float]:
    return [first + slope * i for i in range(n)]


def test_a_line_has_its_ends_and_no_error():
    assert trend(line(1.0, 0.5, 6)) == (1.0, 3.5, float("inf"))
    assert trend([2.0] * 8) == (2.0, 2.0, 0.0)
    assert trend(line(1.0, 0.5, 5)) is None


def test_the_slope_in_standard_errors_is_the_textbook_one():
    scipy_stats = pytest.importorskip("scipy.stats")
    values = [0.31, 0.28, 0.40, 0.35, 0.44, 0.39, 0.47, 0.52]
    found, known = trend(values), scipy_stats.linregress(range(8), values)
    assert found == pytest.approx((known.intercept, known.intercept + 7 * known.slope, known.slope / known.stderr))


def test_drift_compares_the_ends():
    assert drift([1.0, 3.0, 1.0, 3.0, 9.0, 5.0, 7.0, 5.0, 7.0])[:2] == (2.0, 6.0)
    assert drift([1.0] * 7) is None


@pytest.mark.parametrize("name", WATCHED)
def test_what_falls_while_the_reward_rises(name):
    (found,) = alarms(rows(line(0.2, 0.02, 8), name, line(1.0, -0.02, 8)))
    assert (found["metric"], found["rule"], found["steps"]) == (name, "trend", [1, 8])
    assert (found["from"], found["to"]) == pytest.approx((1.0, 0.86))
    assert (found["reward_from"], found["reward_to"]) == pytest.approx((0.2, 0.34))
    assert f"warning: {WATCHED[name][0]} falls 1.0" in warning(found) and "(steps 1 to 8)" in warning(found)


@pytest.mark.parametrize(
    ("rewards", "values"),
    [
        (line(0.2, 0.02, 8), line(1.0, 0.02, 8)),  # both rise
        (line(0.9, -0.02, 8), line(1.0, -0.02, 8)),  # both fall: no gain from it
        ([0.5] * 8, line(1.0, -0.02, 8)),
        (line(0.2, 0.02, 8), [1.0] * 8),
        (line(0.2, 0.02, 8), line(1.0, -0.006, 8)),  # by 4.2 %
        (line(0.2, 0.02, 5), line(1.0, -0.1, 5)),  # too few steps
        (line(0.2, 0.02, 8), [0.8, 1.0, 0.6, 1.0, 0.7, 0.9, 0.6, 0.9]),  # falls, but within the noise
    ],
)
def test_no_warning(rewards, values):
    assert alarms(rows(rewards, values=values)) == []


def test_a_slow_fall_is_seen_against_the_first_steps():
    n = 41  # the line falls by 3 % over 8 steps
    (found,) = alarms(rows(line(0.2, 0.01, n), values=line(1.0, -0.005, n)))
    assert found["rule"] == "drift" and found["steps"] == [1, 41]
    assert (found["from"], found["to"]) == pytest.approx((1 - 0.0075, 0.8 + 0.0075))
    assert "(since steps 1 to 4)" in warning(found)


def test_steps_where_nothing_was_measured_are_left_out():
    values = [None, *line(1.0, -0.02, 4), None, *line(0.92, -0.02, 4)]
    found = alarms(rows(line(0.2, 0.02, 10), values=values))
    assert found[0]["steps"] == [2, 10]
    assert alarms(rows(line(0.2, 0.02, 11), values=[*values, None])) == []  # nothing is known of the last step
    assert alarms([{"step": 1, "reward": 0.5}]) == []


def test_noise_alone_seldom_warns():
    rng, found = random.Random(0), 0
    for _ in range(300):
        made = rows([rng.gauss(0.4, 0.05) for _ in range(12)], values=[rng.gauss(0.8, 0.15) for _ in range(12)])
        found += bool(alarms(made))
    assert found <= 3


def test_a_fall_under_noise_is_found():
    rng, found = random.Random(1), 0
    for _ in range(100):
        rewards = [value + rng.gauss(0, 0.02) for value in line(0.3, 0.02, 8)]
        found += bool(alarms(rows(rewards, values=[value + rng.gauss(0, 0.03) for value in line(0.8, -0.03, 8)])))
    assert found >= 95


def test_the_means_of_a_step_are_over_its_shards():
    record = [
        {"shard": "0", "hypotheses": 8, "component_means": {"similarity": 0.1}},  # done anew below
        {"shard": "1", "hypotheses": 24, "component_means": {"similarity": 0.8, "asr": 0.5}},
        {
            "shard": "0",
            "hypotheses": 8,
            "component_means": {"similarity": 0.4},
            "metric_means": {"diversity-2.pitch": 1},
        },
        {"shard": "2", "hypotheses": 8, "component_means": {"similarity": None}},
    ]
    assert watched_means(record) == {"similarity": pytest.approx(0.7), "diversity.pitch": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Twelve steps whose speaking rate hurries from the fifth on."""
    for step in range(1, 13):
        folder = tmp_path / f"step-{step:06d}"
        rate = 2.0 - 0.1 * max(0, step - 4)
        for stage, fields in {
            "update": {"policy": "x", "reward": 0.1 * step},
            "reward": {"hypotheses": 8, "component_means": {}, "metric_means": {"tokens_per_character": rate}},
        }.items():
            (folder / stage).mkdir(parents=True)
            (folder / stage / "stage.jsonl").write_text(json.dumps({"shard": "0", "seconds": {}, **fields}) + "\n")
    return tmp_path


def test_the_report_warns_below_the_steps_line(run):
    def shown(*flags: str) -> list[str]:
        return CliRunner().invoke(app, ["--run", str(run), *flags], catch_exceptions=False).stdout.splitlines()

    assert len(shown("--step", "4")) == 1
    head, below = shown("--step", "12")
    assert head.startswith("step   12  reward 1.200")
    assert below.strip() == (
        "warning: tokens per character falls 1.90 → 1.20 while the reward rises 0.500 → 1.200 (steps 5 to 12)"
    )
    lines = shown()
    assert lines[-1] == below and sum(text.startswith("step") for text in lines) == 12
    last = json.loads(shown("--json")[-1])
    assert last["watched"] == {"tokens_per_character": pytest.approx(1.2)} and last["alarms"][0]["steps"] == [5, 12]
