"""Joining shards row by row: the same keys in the same order, or an error that names the row."""

import json
import shutil
from pathlib import Path

import pytest

from arl.errors import ArlError, UsageError
from arl.shards.reader import joined_shards, read_joined
from arl.shards.writer import write_shard


def column(folder: Path, extension: str, keys: str) -> Path:
    path = folder / extension / "000000.tar"
    write_shard(path, [(key, {extension: json.dumps(key).encode()}) for key in keys])
    return path


def test_joining_pastes_rows(tmp_path: Path) -> None:
    paths = [column(tmp_path, extension, "abc") for extension in ("emb", "rollout", "reward")]
    rows = list(read_joined(paths))
    assert [row.key for row in rows] == ["a", "b", "c"]
    assert all(list(row.members) == ["emb", "rollout", "reward"] for row in rows)
    assert [row.offsets["reward"][0] for row in rows] == [paths[2]] * 3
    assert joined_shards([str(path.parent) for path in paths]) == [("000000", paths)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("acb", "row 2 is 'c', but 'b' in"),
        ("ab", "row 3 is no sample, but 'c' in"),
        ("abcd", "row 4 is 'd', but no sample in"),
        ("xyz", "row 1 is 'x', but 'a' in"),
    ],
)
def test_rows_that_differ(tmp_path: Path, keys: str, words: str) -> None:
    paths = [column(tmp_path, "emb", "abc"), column(tmp_path, "rollout", keys)]
    with pytest.raises(ArlError, match=words) as caught:
        list(read_joined(paths))
    assert str(paths[1]) in str(caught.value)


def test_two_shards_with_the_same_member(tmp_path: Path) -> None:
    first = column(tmp_path, "emb", "ab")
    second = tmp_path / "copy.tar"
    shutil.copy(first, second)
    with pytest.raises(ArlError, match="sample 'a': member 'emb' is also in"):
        list(read_joined([first, second]))


def test_joining_nothing_or_standard_input_twice() -> None:
    for paths in ([], [Path("-"), Path("-")]):
        with pytest.raises(UsageError):
            list(read_joined(paths))


def test_a_damaged_shard_in_a_join(tmp_path: Path) -> None:
    paths = [column(tmp_path, extension, "abc") for extension in ("emb", "rollout")]
    paths[1].write_bytes(paths[1].read_bytes()[:-2000])
    with pytest.raises(ArlError, match="rollout/000000.tar"):
        list(read_joined(paths))
