"""What `arl reward` counts."""

from arl.rewards.tally import ScoreTally, summary
from arl.shards.rows import Reward


def test_tallies_add_up_and_read_well():
    rows = [
        Reward({"x": [1.0, None]}, [1.0, None], [0.0, None]),
        Reward({"x": [0.0, 0.5]}, [0.0, 0.5], [-1.0, 1.0]),
    ]
    total = ScoreTally.of(rows[:1]) + ScoreTally.of(rows[1:])
    assert total == ScoreTally.of(rows)
    assert summary(total.figures()) == (
        "reward: 2 groups, 4 hypotheses, mean reward 0.5000 (x 0.5000), 1 groups with zero reward variance, "
        "1 hypotheses excluded"
    )
    assert "mean reward none" in summary(ScoreTally().figures())


def test_the_record_has_the_means_of_metrics():
    rows = [
        Reward({}, [1.0, 2.0], [-1.0, 1.0], {"wer.length": [3.0, 3.0], "x.y": [0.5, None]}),
        Reward({"wer.length": [1.0]}, [0.0], [0.0], {"wer.length": [6.0]}),
        Reward({}, [None], [None], {"z": [None]}),
    ]
    figures = sum(map(ScoreTally.of, [rows[:1], rows[1:]]), ScoreTally()).figures()
    assert figures["metric_means"] == {"wer.length": 4.0, "x.y": 0.5, "z": None}
    assert figures["component_means"] == {"wer.length": 1.0} and figures["reward_mean"] == 1.0
