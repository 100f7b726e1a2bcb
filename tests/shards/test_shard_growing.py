"""A pipe as a growing file, and a shard written to a file and a pipe at once."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.shards.growing import growing, growth_of, wait_until_whole
from arl.shards.marker import read_marker
from arl.shards.reader import read_shard
from arl.shards.writer import ShardWriter, write_shard

SAMPLES = [(f"utt{i}", {"rollout.json": b"[%d]" % i, "emb.bin": bytes(700 * i)}) for i in range(4)]


@contextmanager
def pipe() -> Iterator[tuple[int, Path]]:
    """The end to write to, and the growing file that it becomes."""
    reading, writing = os.pipe()
    with open(reading, "rb") as source, growing(source, "000003") as path:
        yield writing, path


def in_pieces(descriptor: int, data: bytes, cuts: list[int]) -> None:
    """Writes `data` cut at these places, then closes."""
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for start, end in zip(places, places[1:], strict=False):
        os.write(descriptor, data[start:end])
    os.close(descriptor)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 1 << 20), max_size=12))
def test_any_pieces_are_the_same_samples(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    whole = tmp_path_factory.mktemp("shard") / "000003.tar"
    write_shard(whole, SAMPLES, "made")
    with pipe() as (writing, path):
        assert path.is_file()  # also before the first byte
        thread = threading.Thread(target=in_pieces, args=(writing, whole.read_bytes(), cuts))
        thread.start()
        found = [(sample.key, sample.members) for sample in read_shard(path)]
        again = [sample.members for sample in read_shard(path)]  # it is a file: read it as often as you like
        wait_until_whole(path)
        thread.join()
        assert path.read_bytes() == whole.read_bytes() and read_marker(path) == read_marker(whole)
        assert growth_of(path) is not None and growth_of(whole) is None
    assert found == SAMPLES and again == [members for _, members in SAMPLES]
    assert not path.exists() and growth_of(path) is None


def test_a_sample_comes_before_the_next_is_written(tmp_path: Path) -> None:
    with pipe() as (writing, path), ShardWriter(tmp_path / "a.tar", copy=writing) as writer:
        writer.write(*SAMPLES[0])
        writer.write(*SAMPLES[1])
        samples = read_shard(path)
        assert next(samples).key == "utt0"  # utt1 could still get another member
        writer.write(*SAMPLES[2])
        sample = next(samples)
        shard, offset, size = sample.offsets["emb.bin"]
        assert sample.key == "utt1" and shard.read_bytes()[offset : offset + size] == sample.members["emb.bin"]
        os.close(writing)
        writer._copy = None
        with pytest.raises(ArlError, match="no end marker"):
            list(samples)


def test_the_copy_has_the_same_bytes(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with ShardWriter(tmp_path / "a.tar", "made", copy=writing) as writer:
        for key, members in SAMPLES:
            writer.write(key, members)
    os.close(writing)
    with open(reading, "rb") as stream:
        assert stream.read() == (tmp_path / "a.tar").read_bytes()


def test_a_shard_is_written_though_nobody_reads_the_copy(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with ShardWriter(tmp_path / "a.tar", copy=writing) as writer:
        for key, members in SAMPLES:
            writer.write(key, members)
    os.close(writing)
    assert [sample.key for sample in read_shard(tmp_path / "a.tar")] == [key for key, _ in SAMPLES]


def test_a_failed_shard_ends_its_copy_without_a_marker(tmp_path: Path) -> None:
    with pipe() as (writing, path):
        with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "a.tar", copy=writing) as writer:
            writer.write(*SAMPLES[0])
            raise KeyboardInterrupt
        os.close(writing)
        with pytest.raises(ArlError, match="no end marker"):
            list(read_shard(path))
    assert not list(tmp_path.glob("*"))
