"""The writer: atomic, deterministic, and refusing what the reader would refuse."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.shards.marker import read_marker
from arl.shards.reader import read_shard
from arl.shards.writer import ShardWriter, remove_stale, write_shard

ENDLESS_WRITER = """
import sys
from pathlib import Path
from arl.shards.writer import ShardWriter
while True:
    with ShardWriter(Path(sys.argv[1]), fingerprint="loop") as shard:
        for number in range(20):
            shard.write(f"k{number}", {"wav": bytes(60_000)})
    print("written", flush=True)
"""

HALF_WRITER = """
import sys, time
from pathlib import Path
from arl.shards.writer import ShardWriter
with ShardWriter(Path(sys.argv[1])) as shard:
    shard.write("a", {"wav": bytes(3_000_000)})
    print("half", flush=True)
    time.sleep(60)
"""


def temps(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if ".tmp-" in name)


def start_writer(path: Path, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


def test_the_end_marker(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "000000.tar"
    write_shard(path, [("a", {"txt": b"1"}), ("b", {"txt": b"2"})], fingerprint="encode 1234")
    marker = read_marker(path)
    assert marker is not None
    assert (marker.samples, marker.fingerprint) == (2, "encode 1234")
    assert re.fullmatch("[0-9a-f]{64}", marker.sha256)


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_shard(
            tmp_path / name, [("utt", {"wav": b"123", "json": b"{}"}), ("ü" * 90, {"txt": b""})], fingerprint="m"
        )
        time.sleep(0.01)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as shard:
        shard.write("a", {"txt": b"1"})
        assert not path.exists()
        assert temps(tmp_path) == [f".a.tar.tmp-{os.getpid()}"]
    assert path.exists() and temps(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [("old", {"txt": b"1"})])
    with pytest.raises(error), ShardWriter(path) as shard:
        shard.write("new", {"txt": b"2"})
        raise error
    assert [sample.key for sample in read_shard(path)] == ["old"]
    assert temps(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "members", "words"),
    [
        ("", {"txt": b""}, "empty"),
        ("a.b", {"txt": b""}, "dot"),
        ("a/b", {"txt": b""}, "slash"),
        ("__a", {"txt": b""}, "__"),
        ("a\n", {"txt": b""}, "printed"),
        ("\ud800", {"txt": b""}, "printed"),
        ("k" * 2000, {"txt": b""}, "longer"),
        ("there", {"txt": b""}, "there already"),
        ("new", {}, "no members"),
        ("new", {"": b""}, "extension"),
        ("new", {"JSON": b""}, "extension"),
        ("new", {".json": b""}, "extension"),
        ("new", {"key": b""}, "extension"),
        ("new", {"txt": b"", "pt": b""}, "pickled"),
    ],
)
def test_refused_samples_leave_no_trace(tmp_path: Path, key: str, members: dict[str, bytes], words: str) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as shard:
        shard.write("there", {"txt": b""})
        with pytest.raises(ArlError, match=words):
            shard.write(key, members)
    assert [sample.key for sample in read_shard(path)] == ["there"]


def test_writing_needs_the_with_block(tmp_path: Path) -> None:
    with pytest.raises(ArlError, match="not open"):
        ShardWriter(tmp_path / "a.tar").write("a", {"txt": b""})


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArlError, match="cannot be written"), ShardWriter(tmp_path / "file" / "a.tar"):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_publishes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with pytest.raises(ArlError, match="No space left"), ShardWriter(path) as shard:
        full = open("/dev/full", "wb")  # noqa: SIM115 (the writer closes it)
        assert shard._stream is not None
        shard._stream.close()
        shard._stream = full
        with pytest.raises(ArlError, match="No space left"):
            shard.write("a", {"wav": bytes(1_000_000)})
        # The caller goes on as if nothing had happened; the shard must not be published.
    assert not path.exists()


def test_two_writers_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as shard:
        with pytest.raises(ArlError, match="already being written"), ShardWriter(path):
            pass
        shard.write("a", {"txt": b""})
    assert len(list(read_shard(path))) == 1


def test_a_writer_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 never leaves a partial shard at the final name, and what it leaves beside it is cleaned up."""
    path = tmp_path / "000000.tar"
    for number in range(8):
        writer = start_writer(path, ENDLESS_WRITER)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.003 * number)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert len(list(read_shard(path))) == 20
        assert len(temps(tmp_path)) <= 1  # the next writer has removed what the last one left
    write_shard(path, [("a", {"txt": b""})])
    assert os.listdir(tmp_path) == [path.name]


def test_a_writer_killed_in_its_first_shard(tmp_path: Path) -> None:
    path = tmp_path / "000000.tar"
    writer = start_writer(path, HALF_WRITER)
    assert writer.stdout is not None
    writer.stdout.readline()
    assert remove_stale(path) == [] and len(temps(tmp_path)) == 1  # its writer lives
    writer.kill()
    writer.communicate()
    assert not path.exists()
    assert [temp.name for temp in remove_stale(path)] == [f".000000.tar.tmp-{writer.pid}"]
    assert temps(tmp_path) == []


def test_only_stale_files_of_this_shard_are_removed(tmp_path: Path) -> None:
    for name in (".a.tar.tmp-1", ".a.tar.tmp-x", ".b.tar.tmp-1", "a.tar.tmp-1", f".a.tar.tmp-{os.getpid()}"):
        (tmp_path / name).touch()
    (tmp_path / ".a.tar.tmp-2").symlink_to(tmp_path / "a.tar.tmp-1")
    removed = remove_stale(tmp_path / "a.tar")
    assert sorted(path.name for path in removed) == sorted([".a.tar.tmp-1", f".a.tar.tmp-{os.getpid()}"])
    assert sorted(os.listdir(tmp_path)) == [".a.tar.tmp-2", ".a.tar.tmp-x", ".b.tar.tmp-1", "a.tar.tmp-1"]
