"""What `arl reward` counts."""

from arl.rewards.tally import Tally, summary


def test_tallies_add_up_and_read_well():
    rows = [
        {"components": {"x": [1.0, None]}, "rewards": [1.0, None], "advantages": [0.0, None]},
        {"components": {"x": [0.0, 0.5]}, "rewards": [0.0, 0.5], "advantages": [-1.0, 1.0]},
    ]
    total = Tally.of(rows[:1]) + Tally.of(rows[1:])
    assert total == Tally.of(rows)
    assert summary(total.figures()) == (
        "reward: 2 groups, 4 hypotheses, mean reward 0.5000 (x 0.5000), 1 groups without spread, 1 hypotheses excluded"
    )
    assert "mean reward none" in summary(Tally().figures())


def test_the_record_has_the_means_of_metrics():
    rows = [
        {"components": {}, "rewards": [1.0, 2.0], "metrics": {"wer.length": [3.0, 3.0], "x.y": [0.5, None]}},
        {"components": {"wer.length": [1.0]}, "rewards": [0.0], "metrics": {"wer.length": [6.0]}},
        {"components": {}, "rewards": [None], "metrics": {"z": [None]}},
    ]
    figures = sum(map(Tally.of, [rows[:1], rows[1:]]), Tally()).figures()
    assert figures["metric_means"] == {"wer.length": 4.0, "x.y": 0.5, "z": None}
    assert figures["component_means"] == {"wer.length": 1.0} and figures["reward_mean"] == 1.0
