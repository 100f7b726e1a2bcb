from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError, UsageError
from arl.rewards.programs.compose import Panel
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.stream import answer_stream
from arl.rewards.programs.utterance import RewardHypothesis, Utterance


def panel(weights, gates=()) -> Panel:
    return Panel((), tuple(weights), tuple(gates))


def total(weights, components, gates=(), fired=()):
    return panel(weights, gates).total([Answer("u", list(values)) for values in [*components, *fired]])


def test_the_total_is_the_weighted_sum():
    assert total([1.0, 0.5], [[1.0, 0.0], [1.0, -4.0]]) == [1.5, -2.0]


def test_null_in_any_program_excludes():
    assert total([1.0, 0.0], [[1.0, None, 1.0], [1.0, 1.0, None]]) == [1.0, None, None]
    assert total([1.0], [[1.0, 1.0]], [-1.0], [[None, 0.0]]) == [None, 1.0]


def test_a_gate_that_fires_lowers_the_reward_and_never_raises_it():
    components, fired = [[0.9, 0.9, -2.5]], [[1.0, 0.0, 1.0]]
    assert total([1.0], components, [-1.0], fired) == [-1.0, 0.9, -2.5]
    answers = [Answer("u", list(values)) for values in [*components, *fired]]
    assert Panel((), (1.0,), (-1.0,), gates_set=True).total(answers) == [-1.0, 0.9, -1.0]  # the paper's rule


def test_the_lowest_of_several_gates_counts():
    assert total([1.0], [[0.9] * 3], [-1.0, 0.25], [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]) == [-1.0, 0.25, -1.0]


def test_a_gate_does_not_bring_an_excluded_hypothesis_back():
    assert total([1.0], [[None]], [-1.0], [[1.0]]) == [None]


def test_an_overflowing_sum_is_an_error():
    with pytest.raises(ArlError, match="u: the weighted rewards"):
        total([1e300, 1.0], [[1e300], [0.0]])


@given(st.lists(st.none() | st.floats(-5, 5), max_size=6), st.floats(-2, 2))
def test_one_component_is_scaled(values, weight):
    assert total([weight], [values]) == [None if v is None else v * weight for v in values]


def test_parse(tmp_path):
    parsed = Panel.parse(["wer", "wer --floor 0=0.5"], ["wer=-1"])
    assert [program.name for program in parsed.programs] == ["wer", "wer-2", "wer-3"]
    assert (parsed.weights, parsed.gate_values) == ((1.0, 0.5), (-1.0,))
    described = parsed.fingerprint()
    assert described["with"][1]["weight"] == 0.5 and described["gates"][0]["value"] == -1.0
    assert len(described["with"][0]["sha256"][0]) == 64
    assert (
        Panel.parse(["wer"], ["wer=-1"], gates_set=True).fingerprint() != Panel.parse(["wer"], ["wer=-1"]).fingerprint()
    )


@pytest.mark.parametrize(
    ("components", "gates", "says"),
    [([], [], "--with is missing"), (["wer"], ["wer"], "--gate wer=-1"), (["wer=x"], [], "no such program")],
)
def test_wrong_flags(components, gates, says):
    with pytest.raises(UsageError, match=says):
        Panel.parse(components, gates)


def test_programs_answer_in_step_and_bad_rows_pass_through():
    rows = [
        ("bad", None),
        ("good", Utterance("u", "a b", "en", [RewardHypothesis("a b"), RewardHypothesis("a")])),
        ("bad again", None),
    ]
    with ExitStack() as stack:
        programs = Panel.parse(["wer"], ["wer=-1"], child=False).open(stack)
        programs += Panel.parse(["wer"], child=True).open(stack)
        result = list(answer_stream(programs, rows))
    assert [(row, [answer.rewards for answer in answers]) for row, _, answers in result] == [
        ("bad", []),
        ("good", [[1.0, 0.5]] * 3),
        ("bad again", []),
    ]


def test_an_empty_stream_ends_the_programs():
    with ExitStack() as stack:
        assert list(answer_stream(Panel.parse(["wer"], child=True).open(stack), [])) == []
