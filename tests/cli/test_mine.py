"""`arl mine` as a person runs it: the four sets, apart from the test set, and what it says and refuses."""

import json
import re
from pathlib import Path

import pytest

from arl.errors import ArlError, UsageError
from arl.runtime.stage import policy_of_embeddings
from arl.shards.checks import shard_problems
from arl.shards.columns import dumps, save_tensor
from arl.shards.lineage import find_column
from arl.shards.paths import expand
from arl.shards.reader import read_joined, read_shard
from tests.data.mining.clips import audio_shards, column
from tests.data.mining.place import (
    HARD,
    LONG,
    LOOP,
    TEXTS,
    WORDS,
    flags,
    keys,
    made_place,
    manifest,
    members,
    run,
    samples,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return made_place(tmp_path)


def test_the_four_sets(place: Path) -> None:
    record = json.loads(run(*flags(place), "--size", "D0=3", "--seed", 4, "--json").stdout)
    sets = {name: keys(place / "sets" / name) for name in ("D0", "D1", "D2", "D3")}
    drawn = sets["D0"]
    assert len(drawn) == 3 and drawn <= set(TEXTS)
    assert sets["D1"] == {*HARD, *LOOP} - drawn and sets["D2"] == {*LONG} - drawn and sets["D3"] == {*WORDS} - drawn
    original = {sample.key: sample for sample in samples(place / "data" / "train")}
    for name in ("D0", "D1", "D2"):
        assert all(each.members == original[each.key].members for each in samples(place / "sets" / name))
    for each in samples(place / "sets" / "D3"):
        words = ["Digium"] if each.key == "word0" else ["Asterisk"]
        assert each.json("json") == original[each.key].json("json") | {"keywords": words}
        assert each.members["flac"] == original[each.key].members["flac"]
    for name, figures in record["sets"].items():
        assert figures["utterances"] == len(sets[name]) and figures["concatenated"] == 0
        assert figures["words"] == sum(len(TEXTS[key].split()) for key in sets[name])
        seconds = sum(1.2 if key == "long" else 0.3 for key in sets[name])
        assert figures["hours"] == pytest.approx(seconds / 3600, abs=1e-6)
    assert record["arguments"]["disagree"] == 0.3 and record["arguments"]["thresholds"]["loop_repeats"] == 4
    for shard in expand([place / "sets" / name for name in sets]):
        assert list(shard_problems([shard])) == []


def test_the_manifest_says_why(place: Path) -> None:
    run(*flags(place), "--size", "D0=3", "--seed", 4)
    lines = manifest(place)
    assert list(lines) == sorted(lines)
    assert {name for line in lines.values() for name in line["sets"]} == {"D0", "D1", "D2", "D3"}
    for key, line in lines.items():
        (name,) = line["sets"]
        assert key in keys(place / "sets" / name) and (place / "sets" / line["sets"][name]).is_file()
        assert (line["text"], line["lang"]) == (TEXTS[key], "en") and (place / "sets" / line["source"]).is_file()
        expected = {"D1"} if key in HARD | LOOP else {"D2"} if key in LONG else {"D3"} if key in WORDS else set()
        assert set(line["reasons"]) == expected | {name}
    for key in keys(place / "sets" / "D1") & set(HARD):
        assert lines[key]["reasons"]["D1"]["between"] == ["base", "other"]
        assert lines[key]["reasons"]["D1"]["disagreement"] > 0.3
    if "loop" not in keys(place / "sets" / "D0"):
        assert lines["loop"]["reasons"]["D1"]["rules"]["base"]["ngram_loop"] == 1
    assert sorted(line["reasons"]["D0"]["drawn"] for line in lines.values() if "D0" in line["sets"]) == [1, 2, 3]


def test_the_control_is_as_large_as_its_set(place: Path) -> None:
    record = json.loads(run(*flags(place), "--json").stdout)
    assert record["sets"]["D0"]["utterances"] == record["sets"]["D1"]["utterances"] > 1
    run(*flags(place), "--overlap")
    assert keys(place / "sets" / "D1") == {*HARD, *LOOP} and len(keys(place / "sets" / "D0")) == 5


@pytest.mark.parametrize("overlap", [False, True])
def test_unions_have_each_utterance_once(place: Path, overlap: bool) -> None:
    sets = ["--sets", "D0+D2,D0+D1+D2+D3", "--size", "D0=6", *(["--overlap"] if overlap else [])]
    record = json.loads(run(*flags(place), *sets, "--json").stdout)
    folders = {name: samples(place / "sets" / name) for name in ("D0", "D1", "D2", "D3", "D0+D2", "D0+D1+D2+D3")}
    assert set(record["sets"]) == set(folders)
    for union in ("D0+D2", "D0+D1+D2+D3"):
        parts = {sample.key: sample.members for name in union.split("+") for sample in folders[name]}
        found = [(sample.key, sample.members) for sample in folders[union]]
        assert len(found) == len(parts) and dict(found) == parts and [key for key, _ in found] != list(parts)
        assert record["sets"][union]["utterances"] == len(parts)
    union_lines = [line for line in manifest(place).values() if "D0+D2" in line["sets"]]
    assert len(union_lines) == len(folders["D0+D2"]) and not any("D0+D2" in line["reasons"] for line in union_lines)


def test_a_set_smaller_than_asked_is_said(place: Path) -> None:
    assert "D3: 2 of 40 utterances" in run(*flags(place), "--size", "D3=40", "--overlap").stderr
    assert "utterances:" not in run(*flags(place), "--size", "D3=2", "--overlap").stderr


def test_several_hypotheses_of_one_system_will_do(place: Path) -> None:
    arguments = ["--shards", place / "data" / "train", "--system", f"base={place / 'data' / 'rollout'}", "--sets", "D1"]
    run(*arguments, "--rule", "none", "--hyps", "all", "-o", place / "sets")
    assert keys(place / "sets" / "D1") == set(HARD)
    run(*arguments, "--rule", "char_loop", "-o", place / "none", fails=ArlError)


def test_nothing_of_the_test_set_is_in_a_set(place: Path) -> None:
    words = {"x0": {"text": "Thank you."}, "x1": {"text": "other words", "clip": 0, "duration_s": 0.3}}
    joined = {"text": "up down", "concatenated": ["hard1", "z"], "texts": ["up", "down"]}
    audio_shards(place / "data" / "test", words | {"x2": joined}, first_seed=900)
    record = json.loads(run(*flags(place), "--overlap", "--size", "D0=13", "--json").stdout)
    assert record["pool"] == {
        "utterances": 13,
        "left_out": {"text in --against": 1, "clip in --against": 1, "source clip in --against": 1},
    }
    assert not set(manifest(place)) & {"loop", "easy0", "hard1"}


def test_rare_words_are_the_default(place: Path) -> None:
    run("--shards", place / "data" / "train", "--sets", "D3", "--letters", 6, "-o", place / "sets")
    found = {sample.key: sample.json("json")["keywords"] for sample in samples(place / "sets" / "D3")}
    assert found == {"word0": ["digium"], "word1": ["asterisk"]}


def test_neighbours_are_joined_where_nothing_is_long(place: Path) -> None:
    sizes = ["--sets", "D0,D2", "--size", "D0=2", "--longer-s", 1.3, "--join-up-to-s", 2]
    run("--shards", place / "data" / "train", "--against", place / "data" / "test", "-o", place / "sets", *sizes)
    long, drawn = samples(place / "sets" / "D2"), keys(place / "sets" / "D0")
    sources = [key for sample in long for key in sample.json("json")["concatenated"]]
    assert long and len(set(sources)) == len(sources) and not set(sources) & drawn
    for sample in long:
        meta = sample.json("json")
        assert 1.3 < meta["duration_s"] <= 2.0
        assert meta["texts"] == [TEXTS[key] for key in meta["concatenated"]] and meta["text"] == " ".join(meta["texts"])
        assert manifest(place)[sample.key]["reasons"]["D2"] == {"concatenated": meta["concatenated"]}
    record = json.loads((place / "sets" / "mine.json").read_text())
    assert record["sets"]["D2"]["concatenated"] == len(long)
    again = [*sizes, "--join", "never"]
    error = run("--shards", place / "data" / "train", "-o", place / "sets2", *again, fails=ArlError)
    assert "--longer-s 1.1" in str(error.exception)


def test_embeddings_are_copied_with_the_audio(place: Path) -> None:
    def member(key: str) -> dict[str, bytes]:
        import numpy as np

        emb = np.full((2, 3), len(key), np.float32)
        return {"emb.safetensors": save_tensor("emb", emb), "prompt.json": dumps({"input_ids": [1, len(key)]})}

    record = {"policy_path": "../../policy", "arguments": {"frontend": "f"}}
    emb = column(place / "data" / "emb", place / "data" / "train", member, record)
    plain = [flag for flag in flags(place)[2:] if flag != place / "sets"]
    run("--shards", emb, *flags(place)[2:], "--size", "D0=3")
    run("--shards", place / "data" / "train", *flags(place)[2:4], *plain[3:], "-o", place / "plain", "--size", "D0=3")
    for name in ("D0", "D1", "D2", "D3"):
        audio, embeddings = expand([place / "sets" / name]), expand([place / "sets" / f"{name}-emb"])
        assert [path.name for path in audio] == [path.name for path in embeddings]
        for path, other, first in zip(audio, embeddings, expand([place / "plain" / name]), strict=True):
            assert list(read_joined([path, other])) and members(path) == members(first)
            assert find_column([other], "json") == path.resolve()  # so that `arl reward` finds the references
            for sample in read_shard(other):
                assert sample.members == member(sample.key)
        assert not (place / "plain" / f"{name}-emb").exists()
        folder = str(place / "sets" / f"{name}-emb")
        assert policy_of_embeddings([folder]).resolve() == (place / "policy").resolve()


def test_joined_clips_have_no_embeddings_and_that_is_said(place: Path) -> None:
    def member(key: str) -> dict[str, bytes]:
        return {"emb.safetensors": save_tensor("emb", b"\0" * 4, "float32", (1, 1)), "prompt.json": dumps({})}

    emb = column(place / "data" / "emb", place / "data" / "train", member)
    sizes = ["--sets", "D0,D2", "--size", "D0=2", "--longer-s", 1.3, "--join-up-to-s", 2]
    result = run("--shards", emb, "-o", place / "sets", *sizes)
    assert (place / "sets" / "D0-emb").is_dir() and not (place / "sets" / "D2-emb").exists()
    assert "D2: has utterances without embeddings" in result.stderr


def test_missing_transcripts(place: Path) -> None:
    table = place / "other.tsv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith("hard2\t")))
    error = run(*flags(place), fails=ArlError)
    assert "system 'other' has no transcript for sample 'hard2'" in str(error.exception)
    assert not (place / "sets").exists()
    record = json.loads(run(*flags(place), "--max-failed", 1, "--size", "D0=1", "--json").stdout)
    assert record["failed"] == 1 and "hard2" not in keys(place / "sets" / "D1")
    run(*flags(place), "--size", "D0=1", fails=ArlError)  # one bad one is too many now


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--sets", "D1", "--rule", "none", "--disagree", 1], "largest disagreement is .* --disagree 0.[0-9]+ gives"),
        (["--sets", "D2", "--join", "never", "--longer-s", 5], "longest utterance has 1.2 s: --longer-s 1.1"),
        (["--sets", "D2", "--longer-s", 50, "--join-up-to-s", 60], "D2: nothing longer than 50 s"),
        (["--sets", "D3", "--letters", 20], "no text has a word of 20 letters: give --letters"),
        (["--sets", "D0,D3", "--size", "D0=16", "--letters", 6], "D3: the 2 that qualify went to other sets"),
    ],
)
def test_an_empty_set_names_what_would_give_some(place: Path, changed: list[object], message: str) -> None:
    systems = [f"--system=base={place / 'data' / 'rollout'}", f"--system=other={place / 'other.tsv'}"]
    arguments = ["--shards", place / "data" / "train", *(systems if "D1" in changed else [])]
    result = run(*arguments, "-o", place / "sets", *changed, fails=ArlError)
    assert re.search(message, str(result.exception)) and not (place / "sets").exists()


def test_usage_errors(place: Path) -> None:
    train, system = ["--shards", place / "data" / "train", "-o", place / "out"], f"--system=a={place / 'other.tsv'}"
    for arguments in (
        ["--sets", "D1"],
        ["--sets", "D0", "--size", 2, system],
        ["--sets", "D0", "--size", 2, "--keywords", place / "list"],
        ["--sets", "D1", system, "--rule", "nope"],
        ["--sets", "D1", system, "--rule", "none", "--rule", "ngram_loop"],
        ["--sets", "D2", "--longer-s", 30],
    ):
        run(*train, *arguments, fails=UsageError)
    for arguments in (["--sets", "D1", system, "--hyps", "some"], ["--sets", "D2", "--join", "perhaps"]):
        result = run(*train, *arguments, fails=SystemExit)  # by the command line itself, which names the choices
        assert result.exit_code == 2 and "is not one of" in result.output
    assert not (place / "out").exists()


def test_no_test_set_is_said(place: Path) -> None:
    result = run("--shards", place / "data" / "train", "--sets", "D0", "--size", 2, "-o", place / "sets")
    assert "no --against" in result.stderr
    assert "drawn at random" in result.stdout
