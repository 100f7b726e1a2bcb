"""What goes in: the pool from audio or embeddings, systems' transcripts, and what a test set holds."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.data.mining import transcripts
from arl.data.mining.held_out import Held
from arl.data.mining.long import advice, joined, long, texts, wants_joined
from arl.data.mining.pool import Candidate, read_pool
from arl.errors import ArlError, UsageError
from arl.runtime.budget import FailureBudget
from arl.shards.columns import dumps
from arl.shards.rows import Meta
from arl.shards.writer import write_shard
from tests.data.mining.clips import audio_shards, candidate, clip, column, rollouts

METAS: dict[str, dict] = {f"u{n}": {"text": f"text {n}"} for n in range(6)}


def pool_of(*shards: Path, bad: int = 0) -> tuple[list[Candidate], Counter[str]]:
    counts: Counter[str] = Counter()
    return list(read_pool([str(path) for path in shards], FailureBudget(bad), counts)), counts


def test_pool_of_audio(tmp_path: Path) -> None:
    found, counts = pool_of(audio_shards(tmp_path / "data", METAS))
    assert [each.key for each in found] == list(METAS) and not counts
    assert found[5].shard == tmp_path / "data" / "000001.tar"
    assert found[5].members() == {"flac": clip(5), **found[5].meta.members()}
    assert (found[5].text, found[5].lang, found[5].duration_s, found[5].parts) == ("text 5", "en", 0.1, ())
    assert not found[5].embeddings


def test_pool_of_embeddings_leaves_out_what_was_not_encoded(tmp_path: Path) -> None:
    def member(key: str) -> dict[str, bytes]:
        failed = {"prompt.json": dumps({"input_ids": [], "error": "cannot be read"})}
        encoded = {"emb.safetensors": b"", "prompt.json": dumps({"input_ids": [1]})}
        return failed if key == "u2" else encoded

    emb = column(tmp_path / "emb", audio_shards(tmp_path / "data", METAS), member)
    found, counts = pool_of(emb)
    assert [each.key for each in found] == ["u0", "u1", "u3", "u4", "u5"] and counts == {"not encoded": 1}
    assert set(found[0].embeddings) == {"emb.safetensors", "prompt.json"}
    assert found[0].members()["flac"] == clip(0)


def test_equal_clips_are_taken_once(tmp_path: Path) -> None:
    found, counts = pool_of(audio_shards(tmp_path / "data", {"a": {"clip": 3}, "b": {}, "c": {"clip": 3}}))
    assert [each.key for each in found] == ["a", "b"] and counts == {"the same clip again": 1}


def test_keys_are_unique_over_all_sources(tmp_path: Path) -> None:
    first = audio_shards(tmp_path / "one", {"a": {}})
    second = audio_shards(tmp_path / "two", {"a": {}, "b": {}}, first_seed=7)
    with pytest.raises(ArlError, match="two/000000.tar: sample 'a' is also in .*one/000000.tar"):
        pool_of(first, second)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"json": dumps({"text": "a", "lang": "en", "duration_s": 1})}, "no audio member"),
        ({"flac": clip(0), "json": dumps({"text": " ", "duration_s": 1})}, "has no text"),
        ({"flac": clip(0), "json": dumps({"text": "a", "lang": "en"})}, "has no duration_s"),
        ({"flac": clip(0), "json": dumps({"text": "a", "lang": None, "duration_s": 1})}, "'lang' is not a text"),
        ({"flac": clip(0), "json": dumps({"text": "a", "lang": "xx", "duration_s": 1})}, "'xx' is unknown"),
        (
            {"flac": clip(0), "json": dumps({"text": "a", "duration_s": 1, "concatenated": ["b"]})},
            "'concatenated' and 'texts'",
        ),
        ({"flac": b"noise", "json": dumps({"text": "a", "duration_s": 1})}, "not an audio file"),
    ],
)
def test_bad_samples_are_named(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    write_shard(tmp_path / "000000.tar", [("k", members)])
    with pytest.raises(ArlError, match=rf"000000.tar: sample 'k'.*{message}"):
        pool_of(tmp_path)
    assert pool_of(tmp_path, bad=1)[0] == []


def test_a_damaged_shard_is_no_smaller_pool(tmp_path: Path) -> None:
    path = audio_shards(tmp_path / "data", METAS) / "000000.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1  # in the first clip
    path.write_bytes(bytes(data))
    with pytest.raises(ArlError, match="000000.tar"):
        pool_of(tmp_path / "data", bad=9)


def test_systems_on_the_command_line() -> None:
    assert transcripts.parse(["a=x.tsv", "b-2=dir=1/"]) == {"a": "x.tsv", "b-2": "dir=1/"}
    for wrong in (["a"], ["=x"], ["a="], ["a b=x"], ["a=x", "a=y"]):
        with pytest.raises(UsageError):
            transcripts.parse(wrong)


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("\ufeffa\t one  two \n\nb\t\nc\tthree\tfour\n", encoding="utf-8")
    assert transcripts.read("x", str(path)) == {"a": ("one  two",), "b": ("",), "c": ("three\tfour",)}
    path.write_text("a\tone\nb two\n")
    with pytest.raises(ArlError, match=r"x.tsv:2: no tab"):
        transcripts.read("x", str(path))
    path.write_text("a\tone\na\ttwo\n")
    with pytest.raises(ArlError, match=r"x.tsv:2: system 'x' has 'a' twice"):
        transcripts.read("x", str(path))
    path.write_bytes(b"a\tcaf\xe9\n")
    with pytest.raises(ArlError, match="not UTF-8"):
        transcripts.read("x", str(path))


def test_bad_lines_of_a_table_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(b"a\tone\nb two\na\ttwo\nc\tcaf\xe9\n\tfour\ne\tfive\n")
    budget = FailureBudget(4)
    assert transcripts.read("x", str(path), budget=budget) == {"a": ("one",), "e": ("five",)}
    budget.spend_missing("b")  # its line was bad, and has been counted
    assert budget.count == 4
    with pytest.raises(ArlError, match=r"x.tsv:5: no key; .*\(--max-failed 3 samples may fail\)"):
        transcripts.read("x", str(path), budget=FailureBudget(3))


def test_rollouts_are_a_system(tmp_path: Path) -> None:
    audio = audio_shards(tmp_path / "data", {"a": {}, "b": {}})
    folder = rollouts(tmp_path / "rollout", audio, {"a": ["one", "two"], "b": []})
    assert transcripts.read("x", str(folder)) == {"a": ["one"]}  # b failed
    assert transcripts.read("x", str(folder / "000000.tar"), transcripts.ALL) == {"a": ["one", "two"]}
    with pytest.raises(ArlError, match="no member 'rollout.json'"):
        transcripts.read("x", str(audio))


def test_held_out_by_text_clip_and_source_clip(tmp_path: Path) -> None:
    joined_ = {"text": "Left. Right!", "clip": 8, "concatenated": ["left", "right"], "texts": ["Left.", "Right!"]}
    held = Held.read([str(audio_shards(tmp_path / "test", {"t": {"text": "Hello, world!", "clip": 9}, "l": joined_}))])
    pool, _ = pool_of(
        audio_shards(
            tmp_path / "data",
            {
                "a": {"text": "hello world", "clip": 1},
                "b": {"text": "other text", "clip": 9},
                "c": {"text": "right", "clip": 2},
                "left": {"text": "another reading", "clip": 3},
                "e": {"text": "x y", "clip": 4, "concatenated": ["right", "z"], "texts": ["x", "y"]},
                "f": {"text": "x t", "clip": 5, "concatenated": ["t", "z"], "texts": ["x", "tea"]},
                "g": {"text": "far left", "clip": 6, "concatenated": ["p", "q"], "texts": ["far", "left"]},
                "t": {"text": "its key is that of a whole clip, which means nothing", "clip": 7},
            },
        )
    )
    reasons = {each.key: held.reason(each) for each in pool}
    source = "source clip"
    assert reasons == {"a": "text", "b": "clip", "c": "text", "left": source, "e": source, "f": source, "g": "text",
                       "t": None}  # fmt: skip
    for key, what in (("a", "texts"), ("b", "clips"), ("left", "source clips"), ("f", "source clips of joined ones")):
        found = Held()
        _add(found, next(each for each in pool if each.key == key))
        with pytest.raises(ArlError, match=f"D1 and --against share . {what}, such as"):
            held.require_apart("D1", found)


def some(key: str, text: str, clip: str, parts: list[tuple[str, str]]) -> Candidate:
    meta = Meta(text, "en", 1.0, concatenated=[part for part, _ in parts], texts=[said for _, said in parts])
    return Candidate(key, meta, clip, Path("x.tar"), {})


def held_by(candidates: list[Candidate]) -> Held:
    return Held(
        {text for each in candidates for text in each.texts},
        {each.clip for each in candidates},
        {each.key for each in candidates},
        {part.key for each in candidates for part in each.parts},
    )


KEYS, SAID = (
    st.sampled_from([f"k{n}" for n in range(8)]),
    st.sampled_from(["up", "down", "Up!", "left", "right", "far"]),
)
PARTS = st.one_of(st.just([]), st.lists(st.tuples(KEYS, SAID), min_size=2, max_size=3))
SOME = st.lists(st.builds(some, KEYS, SAID, st.sampled_from("abcdefgh"), PARTS), max_size=6)


@settings(deadline=None)  # the first call imports
@given(SOME, SOME)
def test_what_is_kept_is_apart_from_the_test_set_and_nothing_else_is_left_out(
    pool: list[Candidate], test: list[Candidate]
) -> None:
    held = held_by(test)
    held.require_apart("D1", held_by([each for each in pool if held.reason(each) is None]))
    for each in pool:
        if held.reason(each) is not None:
            with pytest.raises(ArlError, match="D1 and --against share"):
                held.require_apart("D1", held_by([each]))


def _add(held: Held, one: Candidate) -> None:
    from arl.shards.reader import read_shard

    held.add(next(sample for sample in read_shard(one.shard) if sample.key == one.key))


def test_long_ones_and_neighbours(tmp_path: Path) -> None:
    metas = {f"u{n}": {"text": f"word {c}", "duration_s": 0.4, "speaker": "ann"} for n, c in enumerate("bcdefghjk")}
    pool, _ = pool_of(audio_shards(tmp_path / "data", metas | {"long": {"duration_s": 1.5}}))
    assert long(pool, 1.0) == {"long": {"duration_s": 1.5}} and long(pool, 1.5) == {}
    clips = joined(pool, 1.0, 3.0, seed=1, taken={"u0-x3"})
    keys = [part.key for each in clips for part in each.parts]
    assert clips and len(set(keys)) == len(keys) and set(keys) <= set(metas)  # each once, the long one not at all
    numbers = [int(key[1:]) for key in keys]
    assert numbers == sorted(numbers)
    assert clips[0].key == "u0-x3-x"
    assert texts(clips[0]) == {"word b", "word c", "word d", "word b word c word d"}


def test_when_to_join() -> None:
    assert [wants_joined("auto", *each) for each in ((0, 0, None), (3, 0, None), (3, 2, 5), (9, 5, 5))] == [
        True, False, True, False,
    ]  # fmt: skip
    assert wants_joined("always", 9, 9, None) and not wants_joined("never", 0, 0, 5)
    assert "--longer-s 1.9" in advice([candidate("a", duration_s=2.0)], 5.0, "never")
    assert long([candidate("a", duration_s=2.0)], 1.9)
