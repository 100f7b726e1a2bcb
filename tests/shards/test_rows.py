"""Typed rows: good ones come back as the same bytes, everything else is one ArlError with the sample and the field."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.shards.checks import sample_problems
from arl.shards.columns import dumps
from arl.shards.reader import Sample
from arl.shards.rows import ROWS, Codes, Hypothesis, Meta, NoWave, Prompt, Reward, Rollout, Row, failed_to_encode

HYP = Hypothesis("hällo", [3, 2**40], [-0.5, -1], "stop")
GOOD: tuple[tuple[Row, dict[str, Any]], ...] = (
    (Meta("a", "en"), {"text": "a", "lang": "en"}),
    (
        Meta("a b", "en", 1.5, "x", ["a"], ["u", "v"], ["a", "b"], {"more": {"deep": [1]}}),
        {
            "text": "a b", "lang": "en", "duration_s": 1.5, "speaker": "x", "keywords": ["a"],
            "concatenated": ["u", "v"], "texts": ["a", "b"], "more": {"deep": [1]},
        },
    ),
    (Prompt([1, 2]), {"input_ids": [1, 2]}),
    (Prompt([1], 20, "anna"), {"input_ids": [1], "max_new_tokens": 20, "voice": "anna"}),
    (Prompt([1], before="language None"), {"input_ids": [1], "before": "language None"}),
    (Prompt.failed("no audio"), {"input_ids": [], "error": "no audio"}),
    (Codes([0, 63], 25.0), {"codes": [0, 63], "rate_hz": 25.0}),
    (NoWave("no tokens"), {"error": "no tokens"}),
    (Rollout("1-a", 0, []), {"policy": "1-a", "temperature": 0, "hyps": []}),
    (
        Rollout("1-a", 0.8, [HYP]),
        {
            "policy": "1-a", "temperature": 0.8,
            "hyps": [{"text": "hällo", "tokens": [3, 2**40], "logprobs": [-0.5, -1], "finish": "stop"}],
        },
    ),
    (
        Reward({"wer": [1, None]}, [0.5, None], [0, None], {"wer.errors": [2.0, None]}),
        {
            "components": {"wer": [1, None]}, "rewards": [0.5, None], "advantages": [0, None],
            "metrics": {"wer.errors": [2.0, None]},
        },
    ),
    (Reward({}, [], []), {"components": {}, "rewards": [], "advantages": []}),
)  # fmt: skip
BESIDE = {  # a field that does not fit another one: the message may name that one
    "error": ["input_ids"],
    "tokens": ["logprobs"],
    "texts": ["concatenated"],
    "rewards": ["hypothes"],
    "advantages": ["hypothes"],
    "components": ["hypothes"],
    "metrics": ["hypothes"],
}
STRANGE = (
    None, True, -1, 1.5, "x", "", [], {}, [None], [True], [[1]], [-1], [10**30], ["\ud800"], "\ud800", 10**400,
    -(10**400), 1e300, {"x": 1}, [{"x": [1]}],
)  # fmt: skip


def sample(member: str, value: Any) -> Sample:
    return Sample("u", {member: json.dumps(value).encode()}, {})


@pytest.mark.parametrize(("row", "fields"), GOOD)
def test_a_row_is_written_as_before_and_read_back(row: Row, fields: dict[str, Any]) -> None:
    assert row.members() == {row.MEMBER: dumps(fields)}
    assert type(row).of(Sample("u", row.members(), {})) == row
    assert list(sample_problems(Sample("u", row.members(), {}))) == []


def test_rows_of_older_shards_lack_optional_fields() -> None:
    assert Meta.of(sample("json", {"text": "a", "speaker": None, "keywords": None})) == Meta("a")
    assert Reward.of(sample("reward.json", {"components": {}, "rewards": [1], "advantages": [0]})).metrics == {}


@pytest.mark.parametrize(("row", "fields"), GOOD)
@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: repr(value)[:12])
def test_a_strange_field_is_read_as_it_is_or_refused_with_its_name(
    row: Row, fields: dict[str, Any], strange: Any
) -> None:
    for name in fields.keys() - row_rest(row):
        refused_by_name(type(row), fields | {name: strange}, name)
    for name, value in fields.items():
        if name == "hyps" and value:
            for inner in value[0]:
                refused_by_name(type(row), fields | {"hyps": [value[0] | {inner: strange}]}, inner)


def row_rest(row: Row) -> set[str]:
    return set(row.rest) if isinstance(row, Meta) else set()


def refused_by_name(row: type[Row], fields: dict[str, Any], name: str) -> None:
    """Either the row is read and says the same again, or the one line names the member and the field."""
    found = sample(row.MEMBER, fields)
    try:
        read = row.of(found)
    except ArlError as error:
        assert str(error).startswith(f"sample 'u': {row.MEMBER}: ")
        assert "\n" not in str(error) and len(str(error)) < 400
        assert any(word in str(error) for word in (name, *BESIDE.get(name, ())))
        assert list(sample_problems(found)), "a stage refuses what `arl check` calls good"
    else:
        assert row.of(Sample("u", read.members(), {})) == read


@pytest.mark.parametrize("row", ROWS.values())
@pytest.mark.parametrize("value", [None, 1, "x", [], [1], True])
def test_what_is_no_object_is_refused(row: type[Row], value: Any) -> None:
    with pytest.raises(ArlError, match=f"^sample 'u': {row.MEMBER}: not a JSON object; "):
        row.of(sample(row.MEMBER, value))


@pytest.mark.parametrize("row", ROWS.values())
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"text":1e400}', "is not JSON"),
        (b'{"text":NaN}', "is not JSON"),
        (b'{"text":' + b"1" * 5000 + b"}", "is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "is not JSON"),
        (b'{"text":', "is not JSON"),
        (b'{"hyps":' + b"[" * 900 + b"]" * 900 + b"}", "'"),
    ],
)
def test_numbers_beyond_the_floats_and_endless_depth_are_refused(row: type[Row], data: bytes, words: str) -> None:
    with pytest.raises(ArlError, match=words):
        row.of(Sample("u", {row.MEMBER: data}, {}))


def test_meta_of_bounded_depth() -> None:
    with pytest.raises(ArlError, match="json: a text that is no UTF-8, or lists too deep"):
        Meta.of(Sample("u", {"json": b'{"text":"a","x":' + b"[" * 900 + b"]" * 900 + b"}"}, {}))


def test_lists_of_one_group_have_one_length() -> None:
    row = Reward({"wer": [1.0]}, [1.0], [0.0], {"m": [1.0]})
    assert list(row.size_problems(1)) == []
    names = [problem.split()[0] for problem in row.size_problems(2)]
    assert names == ["'rewards'", "'advantages'", "'components.wer'", "'metrics.m'"]
    for broken in (Reward({"wer": [1, 2]}, [1], [0]), Reward({}, [1], [0], {"m": []})):
        with pytest.raises(ArlError, match="entries for 1 hypotheses; score again"):
            Reward.of(Sample("u", broken.members(), {}))


def test_a_failed_encoding() -> None:
    assert failed_to_encode(Sample("u", Prompt.failed("no audio").members(), {}))
    assert not failed_to_encode(Sample("u", Prompt([1]).members(), {}))
    assert not failed_to_encode(Sample("u", {"emb.safetensors": b""}, {}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(STRANGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_any_change_is_read_or_refused_in_one_line(good: tuple[Row, dict[str, Any]], data: st.DataObject) -> None:
    row, fields = type(good[0]), copy.deepcopy(good[1])
    place: Any = fields
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    while isinstance(place, dict | list) and place:  # walks to any place and puts any value there
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.4:
            place[key] = data.draw(json_values)
            break
        place = place[key]
    found = sample(row.MEMBER, fields)
    try:
        read = row.of(found)
    except ArlError as error:
        assert "\n" not in str(error)
    else:
        assert row.of(Sample("u", read.members(), {})) == read
