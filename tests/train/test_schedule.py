"""The learning rate by step."""

import pytest

from arl.train.schedule import Schedule


def test_warm_up_then_constant():
    rates = [Schedule(1.0, warmup=4).at(step) for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    assert Schedule(0.3).at(0) == 0.3


def test_cosine_ends_at_its_total_and_stays_there():
    schedule = Schedule(2.0, kind="cosine", total=4)
    assert [schedule.at(step) for step in (0, 2, 4, 9)] == pytest.approx([2.0, 1.0, 0.0, 0.0])
