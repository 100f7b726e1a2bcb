import json
import math

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.rewards.programs.checker import sample_utterances
from arl.rewards.programs.contract import (
    ANSWER_SCHEMA,
    UTTERANCE_SCHEMA,
    Answer,
    answer_line,
    parse_answer,
    parse_utterance,
    utterance_line,
)
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.place import AudioSlice

TWO = Utterance("u", "a b", "en", [RewardHypothesis("a"), RewardHypothesis("b")])


def answered(line) -> Answer:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    return parse_answer(data, TWO, "prog", 3)


def test_a_good_answer():
    assert answered({"key": "u", "rewards": [1, None], "metrics": {"m": [0.5, 2]}}) == Answer(
        "u", [1.0, None], {"m": [0.5, 2.0]}
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"key": "v", "rewards": [1, 1]}, "answered with key 'v'"),
        ({"rewards": [1, 1]}, "answered with key None"),
        ({"key": "u"}, "no 'rewards'"),
        ({"key": "u", "rewards": [1]}, "1 entries for 2 hypotheses"),
        ({"key": "u", "rewards": [1, 1, 1]}, "3 entries for 2"),
        ({"key": "u", "rewards": {"0": 1}}, "not a list"),
        ({"key": "u", "rewards": [1, "0.5"]}, r"rewards\[1\] is '0.5', not a number"),
        ({"key": "u", "rewards": [True, 1]}, r"rewards\[0\] is True, not a number"),
        ({"key": "u", "rewards": [1, [1]]}, "not a number"),
        (b'{"key": "u", "rewards": [NaN, 1]}', "NaN is refused"),
        (b'{"key": "u", "rewards": [1, -Infinity]}', "-Infinity is refused"),
        (b'{"key": "u", "rewards": [1e999, 1]}', "inf, which is refused"),
        (b'{"key": "u", "rewards": [1' + b"0" * 400 + b", 1]}", "refused"),
        ({"key": "u", "rewards": [1, 1], "metric": {}}, "unknown field 'metric'"),
        ({"key": "u", "rewards": [1, 1], "metrics": [1]}, "'metrics' is not an object"),
        ({"key": "u", "rewards": [1, 1], "metrics": {"m": [1]}}, "metric 'm' has 1 entries"),
        ([1, 1], "not a JSON object"),
        (b"", "not a JSON line"),
        (b"loading model...\n", "not a JSON line: 'loading model...'"),
        (b'{"key": "u", "rewards": [1, 1]} x', "not a JSON line"),
        (b"\xff\xfe", "not a JSON line"),
    ],
)
def test_violations_name_program_line_and_key(line, says):
    with pytest.raises(ArlError, match=says) as caught:
        answered(line)
    assert str(caught.value).startswith("prog: line 3 (key 'u')")
    assert "\n" not in str(caught.value)


def test_nan_in_the_data_is_not_sent():
    with pytest.raises(ArlError, match="cannot be written"):
        utterance_line(Utterance("u", "", "", [RewardHypothesis("a", logprob=math.nan)]))


@pytest.mark.parametrize(
    ("line", "says"),
    [(b"[]", "a JSON object is expected"), (b'{"key": "u"}', "'u': no 'ref'"), (b'{"key": 1}', "'key' has the wrong")],
)
def test_bad_input_lines(line, says):
    with pytest.raises(ArlError, match=says):
        parse_utterance(line)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
clips = st.builds(AudioSlice, texts, st.integers(0, 2**40), st.integers(0, 2**40))
numbers = st.floats(allow_nan=False, allow_infinity=False)
hypotheses = st.builds(
    RewardHypothesis, texts, st.lists(st.integers(0, 200000), max_size=5), st.sampled_from(["stop", "length"]),
    st.none() | numbers, st.none() | clips,
)  # fmt: skip
utterances = st.builds(
    Utterance, texts, texts, texts, st.lists(hypotheses, max_size=4), st.lists(texts, max_size=3),
    st.dictionaries(texts, texts | numbers | st.none(), max_size=3),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(utterances)
def test_an_utterance_is_one_line_that_reads_back(utterance):
    line = utterance_line(utterance)
    assert line.count(b"\n") == 1
    assert parse_utterance(line) == utterance
    jsonschema.validate(json.loads(line), UTTERANCE_SCHEMA)


@settings(max_examples=100, deadline=None)
@given(utterances, st.data())
def test_an_answer_reads_back_to_the_last_bit(utterance, data):
    group = st.lists(st.none() | numbers, min_size=len(utterance.hyps), max_size=len(utterance.hyps))
    answer = Answer(utterance.key, data.draw(group), data.draw(st.dictionaries(texts, group, max_size=2)))
    line = answer_line(answer)
    jsonschema.validate(json.loads(line), ANSWER_SCHEMA)
    assert parse_answer(line, utterance, "p", 1) == answer


def test_sample_utterances_fit_the_schema():
    with sample_utterances() as samples:
        for utterance in samples:
            jsonschema.validate(json.loads(utterance_line(utterance)), UTTERANCE_SCHEMA)
        assert {len(utterance.hyps) for utterance in samples} >= {1, 12}
        assert samples[0].hyps[0].wav.read().startswith(b"RIFF")
