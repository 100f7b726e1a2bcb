"""The strict reader: every way in which a shard can be damaged or hostile is one clear error."""

import gzip
import hashlib
import io
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.shards.marker import END, EndMarker, read_marker, update_digest
from arl.shards.reader import Sample, read_shard, scan_shard
from arl.shards.tar import member_header, padding
from arl.shards.writer import write_shard

SAMPLES = [(f"utt{number}", {"json": b'{"text":"a"}', "wav": bytes([number]) * 700}) for number in range(4)]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "000000.tar"
    write_shard(path, SAMPLES, fingerprint="fingerprint")
    return path


def forge(path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]], samples: int = 1) -> Path:
    """A shard with a true end marker around members that ShardWriter would not write."""
    digest, parts = hashlib.sha256(), []
    for member, data in members:
        name = member if isinstance(member, str) else member.name
        header = member_header(name, len(data)) if isinstance(member, str) else member.tobuf()
        update_digest(digest, name, data)
        parts += [header, data, bytes(padding(len(data)))]
    marker = EndMarker(samples, digest.hexdigest(), "").to_json()
    parts += [member_header(END, len(marker)), marker, bytes(padding(len(marker))), bytes(1024)]
    path.write_bytes(b"".join(parts))
    return path


def special(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def refused(path: Path, *words: str) -> str:
    """The one-line error of reading the shard; it names the file and holds all `words`."""
    with pytest.raises(ArlError) as caught:
        list(read_shard(path))
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message
    return message


def test_reads_what_was_written(shard: Path) -> None:
    samples = list(read_shard(shard))
    assert [(sample.key, sample.members) for sample in samples] == SAMPLES
    assert samples[0].json("json") == {"text": "a"}
    raw = shard.read_bytes()
    for sample in samples:
        for extension, (path, offset, size) in sample.offsets.items():
            assert path == shard and raw[offset : offset + size] == sample.members[extension]


def test_standard_input_is_read_as_it_comes(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(shard.read_bytes())))
    assert [(sample.key, sample.members) for sample in read_shard(Path("-"))] == SAMPLES


def test_scanning_passes_over_what_is_not_wanted(shard: Path) -> None:
    samples = list(scan_shard(shard, lambda extension: extension == "json"))
    assert [(s.key, list(s.members), list(s.offsets)) for s in samples] == [
        (key, ["json"], ["json", "wav"]) for key, _ in SAMPLES
    ]


def test_an_empty_shard_is_whole(tmp_path: Path) -> None:
    write_shard(tmp_path / "empty.tar", [])
    assert list(read_shard(tmp_path / "empty.tar")) == []


def test_memory_holds_one_sample(tmp_path: Path) -> None:
    write_shard(tmp_path / "big.tar", ((f"k{number}", {"wav": bytes(1_000_000)}) for number in range(40)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_shard(tmp_path / "big.tar")) == 40
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_shard(tmp_path: Path) -> None:
    refused(tmp_path / "none.tar", "cannot be read")
    refused(tmp_path, "cannot be read")


def test_no_end_marker_names_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.txt", "b.txt"):
            tar.addfile(tarfile.TarInfo(name))
    refused(path, "no end marker", "b.txt", "arl data --shards X -o Y")
    path.write_bytes(b"")
    refused(path, "no end marker")


def test_a_cut_names_the_sample(shard: Path) -> None:
    whole = shard.read_bytes()
    _, offset, size = list(read_shard(shard))[2].offsets["wav"]
    for cut in (offset, offset + 5, offset + size + 10):
        shard.write_bytes(whole[:cut])
        refused(shard, "utt2.wav", "cut in the middle", f"byte {cut}")
    shard.write_bytes(whole[: offset + size + padding(size)])  # at a member boundary
    refused(shard, "utt2.wav", "no end marker")


@pytest.mark.parametrize("cut", [1, 512, 1000, 1024])
def test_a_cut_in_the_closing_blocks(shard: Path, cut: int) -> None:
    shard.write_bytes(shard.read_bytes()[:-cut])
    refused(shard, "closing zero blocks")


def test_count_and_digest_must_agree(tmp_path: Path) -> None:
    refused(forge(tmp_path / "a.tar", [("a.txt", b"1"), ("b.txt", b"2")], samples=3), "2 samples", "says 3")
    path = forge(tmp_path / "b.tar", [("a.txt", b"one two three")])
    path.write_bytes(path.read_bytes().replace(b"two", b"TWO"))
    refused(path, "sha256")


def test_a_damaged_end_marker(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes().replace(b'"samples"', b'"simples"'))
    refused(shard, "damaged end marker")


def test_data_after_the_end_marker(shard: Path) -> None:
    whole = shard.read_bytes()
    shard.write_bytes(whole + whole)
    refused(shard, "data after the end marker")
    shard.write_bytes(whole + b"x")
    refused(shard, "data after the end marker")
    shard.write_bytes(whole + bytes(20_480))
    refused(shard, "data after the end marker")


@pytest.mark.parametrize("more", [b"\0", b"\0" * 511, b"x"])
def test_a_pipe_is_refused_where_the_file_is(shard: Path, monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    shard.write_bytes(shard.read_bytes() + more)
    for path in (shard, Path("-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(shard.read_bytes())))
        with pytest.raises(ArlError):
            list(read_shard(path))


def test_record_padding_of_other_writers_is_no_damage(shard: Path) -> None:
    whole = shard.read_bytes()
    shard.write_bytes(whole + bytes(-len(whole) % 10_240))
    assert len(list(read_shard(shard))) == len(SAMPLES)
    assert read_marker(shard) is not None


def test_a_damaged_header_is_no_end(shard: Path) -> None:
    raw = bytearray(shard.read_bytes())
    _, offset, _ = list(read_shard(shard))[1].offsets["wav"]
    raw[offset - 500] ^= 1
    shard.write_bytes(raw)
    refused(shard, "damaged header after 'utt1.json'")


def test_repeated_keys_and_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    refused(forge(path, [("a.txt", b""), ("a.txt", b"")]), "sample 'a'", "'txt' comes twice")
    refused(forge(path, [("a.txt", b""), ("b.txt", b""), ("a.wav", b"")]), "sample 'a'", "adjacent")
    refused(forge(path, [("a.txt", b""), ("b.txt", b""), ("a.txt", b"")]), "sample 'a'", "comes twice")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (special("a.txt", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special("a.txt", tarfile.LNKTYPE, "b.txt"), "hard link"),
        (special("a.txt", tarfile.CHRTYPE), "device"),
        (special("a.txt", tarfile.BLKTYPE), "device"),
        (special("a.txt", tarfile.FIFOTYPE), "named pipe"),
        (special("a.txt", tarfile.DIRTYPE), "directory"),
        (special("../up/", tarfile.DIRTYPE), "directory"),
        (special("a.txt", tarfile.GNUTYPE_SPARSE), "tar extension"),
        (special("a.txt", tarfile.XGLTYPE), "tar extension"),
        ("/etc/passwd.txt", "leads out"),
        ("../a.txt", "leads out"),
        ("a/../../b.txt", "leads out"),
        ("folder/a.txt", "slash"),
        ("noextension", "member extension"),
        (".txt", "empty"),
        ("a.TXT", "member extension"),
        ("a.key", "member extension"),
        ("a\nb.txt", "cannot be printed"),
        ("__other__", "'__'"),
        ("a.pkl", "pickled"),
        ("a.pickle", "pickled"),
        ("a.emb.pt", "pickled"),
        ("a.pth", "pickled"),
        ("a.npz", "pickled"),
        ("a.pyd", "pickled"),
        ("a.pkl.gz", "pickled"),
        ("a.PT", "pickled"),
    ],
)
def test_hostile_members(tmp_path: Path, member: str | tarfile.TarInfo, words: str) -> None:
    refused(forge(tmp_path / "a.tar", [("ok.txt", b""), (member, b"")], samples=2), words)


def test_an_array_of_objects_is_a_pickle(tmp_path: Path) -> None:
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(forge(tmp_path / "a.tar", [("a.npy", stream.getvalue())]), "sample 'a'", "pickled")
    numbers = io.BytesIO()
    np.save(numbers, np.zeros(3))
    assert len(list(read_shard(forge(tmp_path / "b.tar", [("a.npy", numbers.getvalue())])))) == 1


def test_sizes_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    huge = special("a.txt", tarfile.REGTYPE, size=8**11 - 1).tobuf()
    path.write_bytes(huge + bytes(2048))
    refused(path, "cut in the middle of member 'a.txt'")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(huge + bytes(2048))))
    refused(Path("-"), "cut in the middle of member 'a.txt'")
    negative = bytearray(special("a.txt", tarfile.REGTYPE).tobuf())
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b"%06o\0 " % (256 + sum(negative[:148]) + sum(negative[156:]))
    path.write_bytes(bytes(negative) + bytes(2048))
    refused(path, "not a tar")


def pax(records: bytes) -> bytes:
    header = special("./PaxHeaders/a", tarfile.XHDTYPE, size=len(records)).tobuf(format=tarfile.USTAR_FORMAT)
    return header + records + bytes(padding(len(records)))


@pytest.mark.parametrize(
    "records",
    [
        b"99 path=a\n",
        b"12 path=a.txt",
        b"garbage",
        b"0 x=1\n",
        b"9999999999 a=b\n",
        b"22 GNU.sparse.major=1\n",
        b"14 linkpath=b\n",
        b"9 size=x\n",
        b"7 =\xff\xff\n",
    ],
)
def test_malformed_pax_headers(tmp_path: Path, records: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(pax(records) + member_header("a.txt", 0) + bytes(1024))
    refused(path)


def test_a_compressed_shard(shard: Path) -> None:
    shard.write_bytes(gzip.compress(shard.read_bytes()))
    refused(shard, "gzip")


def test_json_members() -> None:
    sample = Sample("a", {"json": b"{", "x.json": b'{"a":NaN}', "y.json": b"[" * 100_000, "z.json": b"\xff"}, {})
    for extension in sample.members:
        with pytest.raises(ArlError, match=f"sample 'a': member '{extension}' is not JSON"):
            sample.json(extension)
    with pytest.raises(ArlError, match="no member 'reward.json', only json"):
        sample.json("reward.json")
