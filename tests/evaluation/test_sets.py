"""The grammar of --set, and what a set's utterances are made of."""

from pathlib import Path

import pytest

from arl.errors import ArlError, UsageError
from arl.evaluation.folder import read_rows, write
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.recognition.run import read_transcripts, transcribed
from arl.evaluation.recognition.score import score
from arl.evaluation.sets import parse_sets, read_sets
from arl.runtime.budget import FailureBudget
from arl.shards.columns import META, dumps
from arl.shards.rows import Meta
from arl.shards.writer import write_shard


def test_names_and_sources():
    assert parse_sets([], []) == {}
    assert parse_sets(["emb", "data"], []) == {"": ["emb", "data"]}
    words = ["short=emb/short", "long=emb/a=b", "short=data/short"]
    assert parse_sets([], words) == {"short": ["emb/short", "data/short"], "long": ["emb/a=b"]}


@pytest.mark.parametrize("word", ["emb/short", "=emb/short", "short=", "a b=emb", "short=-", "a/b=emb"])
def test_other_words_are_usage_errors(word):
    with pytest.raises(UsageError, match=f"--set {word}: "):
        parse_sets([], [word])


def test_shards_and_sets_exclude_each_other():
    with pytest.raises(UsageError, match="--set test=emb"):
        parse_sets(["emb"], ["short=emb"])


def test_reading_joins_the_columns_of_a_set_and_keeps_sets_apart(tmp_path: Path):
    for name in ("short", "long"):
        rows = [(key, {META: dumps({"text": f"{name} {key}"})}) for key in ("a", "b")]
        write_shard(tmp_path / name / "000000.tar", rows)
        write_shard(tmp_path / f"more-{name}" / "000000.tar", [(key, {"x.txt": b"1"}) for key in ("a", "b")])
    words = [f"{name}={tmp_path}/{prefix}{name}" for name in ("short", "long") for prefix in ("", "more-")]
    found = [(name, sample.key, sample.json(META)["text"]) for name, sample in read_sets(parse_sets([], words))]
    assert found == [
        ("short", "a", "short a"), ("short", "b", "short b"), ("long", "a", "long a"), ("long", "b", "long b"),
    ]  # fmt: skip


def test_transcripts(tmp_path: Path):
    path = tmp_path / "them.tsv"
    path.write_text("a\tpress two\r\nb\t\n\nc\ttab\tand \u2028 line\n", encoding="utf-8")
    assert read_transcripts(path) == {"a": "press two", "b": "", "c": "tab\tand \u2028 line"}
    for text, problem in (
        ("a press two\n", ":1: not key<TAB>text"),
        ("a\tb\na\tc\n", ":2: a second transcript of 'a'"),
    ):
        path.write_text(text)
        with pytest.raises(ArlError, match=problem):
            read_transcripts(path)
    with pytest.raises(ArlError, match="no such file"):
        read_transcripts(tmp_path / "nowhere.tsv")


def test_a_bad_line_of_transcripts_is_one_failed_utterance(tmp_path: Path):
    path = tmp_path / "them.tsv"
    path.write_bytes(b"a\tone\nb one\nc\tcaf\xe9\na\ttwo\n")
    write_shard(tmp_path / "data" / "0.tar", [(key, {META: dumps({"text": "one"})}) for key in "abcd"])
    budget = FailureBudget(4)
    texts = read_transcripts(path, budget)
    assert texts == {"a": "one"} and budget.count == 3
    rows, cost = transcribed(texts, {"": [str(tmp_path / "data")]}, budget)  # of b, c and d two had a bad line
    assert [row["key"] for row in rows] == ["a"] and cost == {"failed": 4}


def test_a_folder_gives_back_the_rows(tmp_path: Path):
    rows = [score("s", "a", Meta("été \u2028 là", "fr"), "été", None)]
    write(tmp_path / "eval", rows, {"wer": 0.5})
    (back,) = read_rows(tmp_path / "eval", RECOGNITION)
    assert back == {**rows[0], "alignment": [list(step) for step in rows[0]["alignment"]]}
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == ["summary.json", "utterances.jsonl"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    with pytest.raises(ArlError, match=f"no evaluation there; `arl eval -o {tmp_path}` makes one"):
        read_rows(tmp_path, RECOGNITION)
    path = tmp_path / "utterances.jsonl"
    for text, problem in (("", "no utterance"), ("{", ":1: not a row"), ('{"key": "a"}', "no field 'set'; evaluate")):
        path.write_text(text)
        with pytest.raises(ArlError, match=problem):
            read_rows(tmp_path, RECOGNITION)
