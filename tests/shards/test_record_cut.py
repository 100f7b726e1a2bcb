"""`stage.jsonl` after a full disk: a cut line costs no reader and no writer anything but itself."""

from pathlib import Path

import pytest

from arl.shards.record import RECORD, StageRecord, append_record, read_record

FIRST, SECOND = '{"shard":"000000","sources":["a"]}', '{"shard":"000001","sources":["b"]}'


@pytest.mark.parametrize("cut", range(1, len(FIRST)))
def test_a_cut_line_is_passed_over_and_the_record_behind_it_is_read(tmp_path: Path, cut: int) -> None:
    for between in ("", "\n"):
        (tmp_path / RECORD).write_text(FIRST[:cut] + between + SECOND + "\n")
        assert [line["sources"] for line in read_record(tmp_path)] == [["b"]]
    (tmp_path / RECORD).write_text(SECOND + "\n" + FIRST[:cut])
    assert [line["shard"] for line in read_record(tmp_path)] == ["000001"]


def test_the_next_writer_starts_a_new_line(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(SECOND + "\n" + FIRST[:9])
    append_record(tmp_path, StageRecord("copy", "000002", 1, {}, 1.0))
    append_record(tmp_path, StageRecord("copy", "000003", 1, {}, 1.0))
    lines = (tmp_path / RECORD).read_text().split("\n")
    assert lines[:2] == [SECOND, FIRST[:9]] and len(lines) == 5 and lines[-1] == ""
    assert [line["shard"] for line in read_record(tmp_path)] == ["000001", "000002", "000003"]
