"""Splits: shares, whole groups of equal text, and the check that finds a shared one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.data.corpora.split import check_disjoint, deal, deal_speakers, normalised, parse, parse_speakers
from arl.data.corpora.utterance import CorpusUtterance
from arl.errors import ArlError, UsageError


def test_parse_shares() -> None:
    assert parse("test=0.4,train=0.6") == {"test": 0.4, "train": 0.6}
    assert parse("test=0.25, dev=0.25, train=rest") == {"test": 0.25, "dev": 0.25, "train": 0.5}
    assert parse("test=0.45") == {"test": 0.45, "train": 0.55}
    assert parse("test=1") == {"test": 1.0}
    wrong = ["test=0.4,train=0.5", "test=2", "test=", "=1", "a/b=1", "a=rest,b=rest", "a=0.5,a=0.5", "a=1,b=rest"]
    for spec in [*wrong, "test=nan"]:
        with pytest.raises(UsageError):
            parse(spec)


@given(st.lists(st.sampled_from("abcdefghij"), max_size=60), st.integers(0, 5))
def test_equal_texts_stay_together(texts: list[str], seed: int) -> None:
    items = list(enumerate(texts))
    parts = deal(items, {"test": 0.3, "dev": 0.2, "train": 0.5}, lambda item: item[1], seed)
    assert sorted(item for part in parts.values() for item in part) == items
    homes = {text: {name for name, part in parts.items() if text in {t for _, t in part}} for text in texts}
    assert all(len(names) == 1 for names in homes.values())
    assert all(part == sorted(part) for part in parts.values())
    assert parts == deal(items, {"test": 0.3, "dev": 0.2, "train": 0.5}, lambda item: item[1], seed)


def test_shares_are_met_and_seeds_differ() -> None:
    items = [str(number) for number in range(200)]
    parts = deal(items, {"test": 0.4, "train": 0.6}, str, 1)
    assert Counter({name: len(part) for name, part in parts.items()}) == {"test": 80, "train": 120}
    assert parts != deal(items, {"test": 0.4, "train": 0.6}, str, 2)


def test_texts_are_compared_normalised() -> None:
    first, second = (
        CorpusUtterance("k", text, b"", "en") for text in ("To lock, or unlock...", "...to lock or unlock.")
    )
    assert normalised(first) == normalised(second)


def test_a_shared_text_is_named() -> None:
    check_disjoint({"test": {"a"}, "train": {"b"}})
    with pytest.raises(ArlError, match="train and --against share 1 texts, such as 'b'"):
        check_disjoint({"test": {"a"}, "train": {"b"}, "--against": {"b", "c"}})


SAID = [("a", "one"), ("a", "two"), ("b", "two"), ("b", "three"), ("c", "Three!"), ("c", "four"), ("", "five")]


def spoken_by(said: list[tuple[str, str]]) -> list[CorpusUtterance]:
    return [CorpusUtterance(str(number), text, b"", "en", who) for number, (who, text) in enumerate(said)]


def test_named_speakers_are_apart_and_so_are_their_texts() -> None:
    parts = deal_speakers(spoken_by(SAID), "test=b,train=rest", 0)
    assert {name: [(u.speaker, u.text) for u in part] for name, part in parts.items()} == {
        "test": [("b", "two"), ("b", "three")],
        "train": [("a", "one"), ("c", "four")],
    }
    with pytest.raises(ArlError, match="no utterance of speaker d"):
        deal_speakers(spoken_by(SAID), "test=d,train=rest", 0)


@given(st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdefghij")), max_size=60), st.integers(0, 5))
def test_dealt_speakers_are_apart(said: list[tuple[str, str]], seed: int) -> None:
    parts = deal_speakers(spoken_by(said), "test=0.3,dev=0.2,train=rest", seed)
    for key in ("speaker", "text"):
        homes = [{getattr(u, key) for u in part} for part in parts.values()]
        assert sum(map(len, homes)) == len(set().union(*homes))


def test_what_names_no_speakers() -> None:
    assert parse_speakers("test=0.4,train=rest") is None
    for spec in ("test=a+a,train=rest", "test=a,test=b", "test=a+,train=b", "a/b=c,train=rest", "a=rest,b=rest"):
        with pytest.raises(UsageError):
            parse_speakers(spec)
