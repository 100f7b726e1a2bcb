import json

import pytest

from arl.errors import ArlError
from arl.shards.columns import dumps
from arl.shards.lineage import find_column, holds, read_with_references
from arl.shards.record import StageRecord, append_record, read_record
from arl.shards.writer import write_shard


def column(folder, member, keys=("a", "b"), sources=None, name="000000"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tar"
    write_shard(path, ((key, {member: dumps({"text": f"{member} of {key}"})}) for key in keys))
    if sources is not None:
        line = {"stage": "x", "shard": name, "sources": sources}
        (folder / "stage.jsonl").open("a").write(json.dumps(line) + "\n")
    return path


def test_the_member_is_among_the_inputs(tmp_path):
    audio = column(tmp_path / "data", "json")
    rollout = column(tmp_path / "rollout", "rollout.json")
    assert holds(audio, "json") and not holds(rollout, "json")
    assert find_column([rollout, audio], "json") is None


def test_the_records_lead_to_it(tmp_path):
    audio = column(tmp_path / "data" / "train", "json")
    column(tmp_path / "emb", "prompt.json", sources=["../data/train"])
    rollout = column(tmp_path / "run" / "rollout", "rollout.json", sources=["../../emb"])
    assert find_column([rollout], "json") == audio
    merged = list(read_with_references([rollout], audio))
    assert [sample.key for sample in merged] == ["a", "b"]
    assert merged[0].json("json") == {"text": "json of a"}
    assert set(merged[0].members) == {"rollout.json", "json"}


@pytest.mark.parametrize("source", ["../data/000000.tar", "../data/{000000..000003}.tar", "../data/"])
def test_a_source_may_be_any_path(tmp_path, source):
    audio = column(tmp_path / "data", "json")
    rollout = column(tmp_path / "rollout", "rollout.json", sources=["../gone", source])
    assert find_column([rollout], "json") == audio


def test_a_shard_of_another_name_is_not_taken(tmp_path):
    column(tmp_path / "data", "json", name="000001")
    rollout = column(tmp_path / "rollout", "rollout.json", sources=["../data"])
    with pytest.raises(ArlError, match=r"000000.tar: no .json member .*data\).*--shards data/train"):
        find_column([rollout], "json")


def test_no_record_and_circles_end(tmp_path):
    rollout = column(tmp_path / "rollout", "rollout.json")
    with pytest.raises(ArlError, match="recorded sources .none."):
        find_column([rollout], "json")
    rollout = column(tmp_path / "again", "rollout.json", sources=["../again"])
    with pytest.raises(ArlError, match="--shards data/train"):
        find_column([rollout], "json")


def test_samples_that_failed_earlier_are_passed_over(tmp_path):
    audio = column(tmp_path / "data", "json", keys=("a", "failed", "b"))
    rollout = column(tmp_path / "rollout", "rollout.json")
    assert [s.json("json")["text"] for s in read_with_references([rollout], audio)] == ["json of a", "json of b"]


def test_a_missing_reference_is_an_error(tmp_path):
    audio = column(tmp_path / "data", "json", keys=("a",))
    rollout = column(tmp_path / "rollout", "rollout.json")
    with pytest.raises(ArlError, match="no .json for sample 'b'"):
        list(read_with_references([rollout], audio))


def test_a_flipped_bit_in_the_audio_is_found(tmp_path):
    """References that are found by themselves are proved as given ones are: every byte, the audio's too."""
    audio = tmp_path / "audio" / "000000.tar"
    write_shard(audio, [(key, {"json": dumps({"text": key}), "wav": key.encode() * 700}) for key in ("a", "b")])
    rollout = column(tmp_path / "rollout", "rollout.json", sources=["../audio"])
    assert [sample.json("json")["text"] for sample in read_with_references([rollout], audio)] == ["a", "b"]
    data = bytearray(audio.read_bytes())
    data[data.index(b"aaaaaaaa")] ^= 1
    audio.write_bytes(bytes(data))
    with pytest.raises(ArlError, match="were changed"):
        list(read_with_references([rollout], audio))


def test_a_record_may_hold_any_separator(tmp_path):
    """Only a newline ends a line of `stage.jsonl`, which is written without escapes."""
    append_record(tmp_path, StageRecord("rollout", "000000", 1, {}, 0, sources=["../a\u2028b\x85c"]))
    append_record(tmp_path, StageRecord("rollout", "000001", 1, {}, 0))
    assert [line["shard"] for line in read_record(tmp_path)] == ["000000", "000001"]
    assert read_record(tmp_path)[0]["sources"] == ["../a\u2028b\x85c"]
