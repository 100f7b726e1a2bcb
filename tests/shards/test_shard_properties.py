"""Properties of shards over random samples: round trip (also through webdataset), damage at any byte, join."""

import io
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.shards.foreign import read_foreign
from arl.shards.marker import read_marker
from arl.shards.names import COMPRESSED, PICKLES, RESERVED
from arl.shards.reader import read_joined, read_shard, scan_shard
from arl.shards.writer import write_shard

Rows = list[tuple[str, dict[str, bytes]]]

keys = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,120}", fullmatch=True),
    st.text(min_size=1, max_size=40).map(lambda text: "".join(c for c in text if c.isprintable() and c not in "./\\")),
).filter(lambda key: key and not key.startswith("__"))
part = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda text: text not in PICKLES | COMPRESSED | RESERVED | {"npy"}
)
extensions = st.lists(part, min_size=1, max_size=3).map(".".join)
members = st.dictionaries(extensions, st.binary(max_size=1200), min_size=1, max_size=3)
rows = st.dictionaries(keys, members, max_size=5).map(lambda samples: list(samples.items()))
quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


def read(path: Path) -> Rows:
    return [(sample.key, sample.members) for sample in read_shard(path)]


def read_bytes(raw: bytes) -> Rows:
    """The samples of a shard that comes through a pipe."""
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw))):
        return read(Path("-"))


@quiet
@given(rows, st.text(max_size=40))
def test_round_trip(tmp_path: Path, samples: Rows, made: str) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, samples, made)
    raw = path.read_bytes()
    assert read(path) == samples == read_bytes(raw)
    assert [list(found) for _, found in read(path)] == [list(given) for _, given in samples]
    marker = read_marker(path)
    assert marker is not None and (marker.samples, marker.fingerprint) == (len(samples), made)
    for sample in scan_shard(path, lambda extension: False):
        for extension, (_, offset, size) in sample.offsets.items():
            assert raw[offset : offset + size] == dict(samples)[sample.key][extension]


@quiet
@given(rows.filter(bool))
def test_webdataset_reads_our_shards(tmp_path: Path, samples: Rows) -> None:
    """Equal keys, members and bytes, and the end marker is passed over: webdataset skips names like `__x__`."""
    import webdataset

    path = tmp_path / "a.tar"
    write_shard(path, samples)
    found = [
        (row["__key__"], {name: data for name, data in row.items() if not name.startswith("__")})
        for row in webdataset.WebDataset(str(path), shardshuffle=False)
    ]
    assert found == samples == [(sample.key, sample.members) for sample in read_foreign(path)]


@pytest.mark.slow
@quiet
@given(rows, st.data())
def test_a_shard_cut_anywhere_is_an_error(tmp_path: Path, samples: Rows, data: st.DataObject) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, samples)
    raw = path.read_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    path.write_bytes(raw[:cut])
    assert read_marker(path) is None
    with pytest.raises(ArlError):
        read(path)
    with pytest.raises(ArlError):
        read_bytes(raw[:cut])


def test_every_cut_of_one_shard_is_an_error_before_the_first_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [("a", {"txt": b"1"}), ("ü", {"txt": b"2", "json": b"{}"})])
    raw = path.read_bytes()
    for cut in range(len(raw) - 1, -1, -1):
        with path.open("r+b") as stream:
            stream.truncate(cut)
        with pytest.raises(ArlError):
            next(read_shard(path))


@quiet
@given(rows, st.data())
def test_one_changed_byte_is_an_error_or_changes_nothing(tmp_path: Path, samples: Rows, data: st.DataObject) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, samples)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        assert read(path) == samples
    except ArlError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@quiet
@given(rows.filter(lambda samples: len(samples) > 1), st.data())
def test_samples_in_another_order_are_an_error(tmp_path: Path, samples: Rows, data: st.DataObject) -> None:
    """Two samples swapped inside the tar, the end marker unchanged: same count, same bytes, another digest."""
    path = tmp_path / "a.tar"
    other = data.draw(st.permutations(samples).filter(lambda order: order != samples))
    write_shard(path, samples)
    marker_at = path.read_bytes().rindex(b"__end__\0")
    end = path.read_bytes()[marker_at:]
    write_shard(path, other)
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"__end__\0")] + end)
    with pytest.raises(ArlError, match="sha256"):
        read(path)


@quiet
@given(st.lists(st.binary(max_size=700), max_size=3), st.binary(max_size=3000))
def test_noise_is_an_error(tmp_path: Path, zeros: list[bytes], noise: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(noise + bytes(1024).join(zeros))
    assert read_marker(path) is None
    with pytest.raises(ArlError):
        read(path)


@pytest.mark.slow
@quiet
@given(rows, st.integers(1, 4))
def test_joining_equals_merging(tmp_path: Path, samples: Rows, width: int) -> None:
    paths = [tmp_path / f"{number}.tar" for number in range(width)]
    columns = [
        [(key, {f"c{n}.{ext}": data for ext, data in found.items()}) for key, found in samples] for n in range(width)
    ]
    for path, column in zip(paths, columns, strict=True):
        write_shard(path, column)
    joined = [(row.key, row.members) for row in read_joined(paths)]
    assert joined == [(key, {k: v for c in columns for k, v in dict(c)[key].items()}) for key, _ in samples]


@pytest.mark.slow
@quiet
@given(rows.filter(lambda samples: len(samples) > 1), st.data())
def test_joining_other_orders_or_counts_is_an_error(tmp_path: Path, samples: Rows, data: st.DataObject) -> None:
    chosen = st.lists(st.sampled_from(samples), unique_by=lambda sample: sample[0])
    other = data.draw(st.one_of(st.permutations(samples), chosen).filter(lambda order: order != samples))
    paths = [tmp_path / "a.tar", tmp_path / "b.tar"]
    write_shard(paths[0], samples)
    write_shard(paths[1], [(key, {"added": b""}) for key, _ in other])
    for pair in (paths, paths[::-1]):
        with pytest.raises(ArlError, match="same keys"):
            list(read_joined(pair))
