"""What a stage does around its work: skipping, fingerprints, records."""

import json
from pathlib import Path
from typing import Any

import pytest

from arl.errors import ArlError, UsageError
from arl.runtime.stage import StageRun, default_out, peak_memory_mb, seconds_since_start
from arl.shards.marker import read_marker
from arl.shards.paths import joined_shards
from arl.shards.reader import read_shard
from arl.shards.record import RECORD, read_record
from arl.shards.writer import write_shard


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two shards of one sample each."""
    for shard in range(2):
        write_shard(tmp_path / "data" / f"{shard:06d}.tar", [(f"utt-{shard}", {"json": b"{}"})])
    return tmp_path / "data"


def run_stage(source: Path, out: Path, arguments: dict[str, Any] | None = None, **settings: Any) -> list[str]:
    """A stage that copies; the names of the shards it did."""
    run = StageRun("copy", out, {"x": 1} if arguments is None else arguments, sources=[source], **settings)
    done = []
    for name, inputs in run.pending(joined_shards([str(source)])):
        with run.shard(name, inputs) as shard:
            with run.phase("run"):
                samples = list(read_shard(inputs[0]))
            for sample in samples:
                shard.write(sample.key, {"copy.json": b"[]"})
            shard.audio_s = 2.0
            shard.figures["answer"] = 42
        done.append(name)
    return done


BOTH = ["000000", "000001"]


@pytest.mark.parametrize("force", [False, True])
def test_a_stage_does_not_write_over_its_input(source, tmp_path, force):
    before = [path.read_bytes() for path in sorted(source.iterdir())]
    (tmp_path / "link").symlink_to("data")
    for out in (source, tmp_path / "link", source / ".." / "data"):
        with pytest.raises(UsageError, match="copy would write over its input .*000000.tar"):
            run_stage(source, out, force=force)
    assert [path.read_bytes() for path in sorted(source.iterdir())] == before


def test_a_finished_stage_is_skipped_and_force_redoes_it(source, tmp_path, capsys):
    out = tmp_path / "copy"
    assert run_stage(source, out) == BOTH
    assert run_stage(source, out) == []
    assert f"copy: 2 shard(s) in {out} already done (-f redoes them)" in capsys.readouterr().err
    assert run_stage(source, out, force=True) == BOTH


def test_only_what_is_missing_or_cut_is_done_again(source, tmp_path):
    out = tmp_path / "copy"
    run_stage(source, out)
    (out / "000000.tar").unlink()
    assert run_stage(source, out) == ["000000"]
    whole = (out / "000001.tar").read_bytes()
    (out / "000001.tar").write_bytes(whole[:-1024])
    assert run_stage(source, out) == ["000001"]
    assert (out / "000001.tar").read_bytes() == whole


@pytest.mark.parametrize("change", [{"arguments": {"x": 2}}, {"arguments": {}}, {"policy": "000001-abc"}])
def test_other_arguments_or_another_policy_do_it_again(source, tmp_path, change):
    out = tmp_path / "copy"
    run_stage(source, out)
    assert run_stage(source, out, **change) == BOTH
    assert run_stage(source, out, **change) == []
    assert run_stage(source, out) == BOTH


def test_changed_inputs_do_it_again_and_a_moved_run_does_not(source, tmp_path):
    run_stage(source, tmp_path / "copy")
    write_shard(source / "000001.tar", [("utt-1", {"json": b'{"text":"new"}'})])
    assert run_stage(source, tmp_path / "copy") == ["000001"]
    (tmp_path / "moved").mkdir()
    for name in ("data", "copy"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert run_stage(tmp_path / "moved" / "data", tmp_path / "moved" / "copy") == []


def test_fingerprints_tell_stage_arguments_policy_inputs_and_their_order_apart(source, tmp_path):
    first, second = (source / f"{name}.tar" for name in BOTH)
    out = tmp_path / "out"
    runs = [
        (StageRun("a", out, {"x": 1}), [first]),
        (StageRun("b", out, {"x": 1}), [first]),
        (StageRun("a", out, {"x": 2}), [first]),
        (StageRun("a", out, {"x": 1}, policy="p"), [first]),
        (StageRun("a", out, {"x": 1}), [second]),
        (StageRun("a", out, {"x": 1}), [first, second]),
        (StageRun("a", out, {"x": 1}), [second, first]),
    ]
    assert len({run.fingerprint(inputs) for run, inputs in runs}) == len(runs)
    same = StageRun("a", tmp_path / "elsewhere", {"x": 1}, sources=["anything"], force=True)
    assert same.fingerprint([first]) == runs[0][0].fingerprint([first])


def test_inputs_without_an_end_marker_are_refused(tmp_path):
    (tmp_path / "cut.tar").write_bytes(b"")
    with pytest.raises(ArlError, match=r"cut.tar: no end marker.*arl check"):
        StageRun("a", tmp_path / "out", {}).fingerprint([tmp_path / "cut.tar"])


def test_records(source, tmp_path):
    out = tmp_path / "deep" / "copy"
    run_stage(source, out, policy="000003-abc")
    first, second = read_record(out)
    assert first["shard"] == "000000" and first["stage"] == "copy" and first["policy"] == "000003-abc"
    assert first["arguments"] == {"x": 1} and first["samples"] == 1 and first["answer"] == 42
    assert first["sources"] == ["../../data"] and (out / first["sources"][0]).resolve() == source.resolve()
    marker = read_marker(out / "000000.tar")
    assert marker is not None and first["made"] == marker.fingerprint
    assert set(first["seconds"]) == {"load", "wake", "run", "sleep", "write"}
    assert first["rtf"] == pytest.approx(sum(first["seconds"].values()) / 2.0, abs=1e-4)
    assert first["seconds"]["load"] > 0 and second["seconds"]["load"] == 0  # the process started once
    assert first["peak_memory_mb"] > 1


def test_the_last_line_of_a_shard_counts(source, tmp_path):
    out = tmp_path / "copy"
    run_stage(source, out)
    run_stage(source, out, {"x": 2})
    assert len((out / RECORD).read_text().splitlines()) == 4
    assert [(line["shard"], line["arguments"]["x"]) for line in read_record(out)] == [("000000", 2), ("000001", 2)]
    assert read_record(tmp_path / "nowhere") == []


@pytest.mark.parametrize("line", ["[]", "{}", "3", '{"shard":[]}'])
def test_a_broken_record_is_named(tmp_path, line):
    (tmp_path / RECORD).write_text('{"shard":"000000"}\n' + line + "\n")
    with pytest.raises(ArlError, match=f"{RECORD}:2: not a record of a stage .*; delete the line"):
        read_record(tmp_path)


def test_an_exception_leaves_neither_shard_nor_record(source, tmp_path):
    run = StageRun("copy", tmp_path / "copy", {})
    inputs = [source / "000000.tar"]
    with pytest.raises(RuntimeError), run.shard("000000", inputs) as shard:
        shard.write("utt", {"copy.json": b"[]"})
        raise RuntimeError
    assert list((tmp_path / "copy").iterdir()) == []


def test_default_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_out("rollout", ["run/emb/"]) == tmp_path / "run" / "rollout"
    assert default_out("rollout", [Path("emb"), Path("data")]) == tmp_path / "rollout"
    assert default_out("rollout", ["run/emb/000000.tar"]) == tmp_path / "run" / "rollout"
    assert default_out("rollout", ["emb/{000000..000003}.tar"]) == tmp_path / "rollout"
    with pytest.raises(ArlError, match="reading standard input needs --out"):
        default_out("rollout", ["-"])


def test_own_figures():
    assert 0 < seconds_since_start() < 1e6
    assert 10 < peak_memory_mb() < 1e6


def test_records_are_json_lines(source, tmp_path):
    run_stage(source, tmp_path / "copy")
    assert all(json.loads(line) for line in (tmp_path / "copy" / RECORD).read_text().splitlines())
