"""Other people's WebDataset tars: what webdataset and tar write is read, what is cut or hostile is one error."""

import gzip
import io
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.shards.foreign import legal_key, read_foreign
from arl.shards.names import key_problem
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard

Members = list[tuple[str | tarfile.TarInfo, bytes]]


def make_tar(path: Path, members: Members, mode: str = "w", **options: object) -> Path:
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "target"
    return info


def test_what_webdataset_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(3):
            writer.write({"__key__": f"train/utt{number}", "wav": bytes([number]), "json": {"text": "a"}})
    samples = list(read_foreign(path))
    assert [sample.key for sample in samples] == ["train_utt0", "train_utt1", "train_utt2"]
    assert samples[1].members["wav"] == b"\1" and samples[1].json("json") == {"text": "a"}
    assert samples[0].where == f"{path}: sample 'train_utt0'"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tar_writes(tmp_path: Path, mode: str, form: int) -> None:
    """Folders, a leading ./, upper case, dots in folders, hidden files and files without an extension."""
    long = "x" * 90
    files: Members = [
        (link(".", tarfile.DIRTYPE), b""),
        (link("./v1.0", tarfile.DIRTYPE), b""),
        ("./v1.0/a.WAV", b"1"),
        ("./v1.0/a.txt", b"2"),
        ("./v1.0/._a.txt", b"junk"),
        (f"./v1.0/{long}/{long}.seg.wav", b"3"),
        ("README", b"about"),
        ("b.txt", b""),
    ]
    samples = list(read_foreign(make_tar(tmp_path / "a", files, mode, format=form)))
    assert [(sample.key, sample.members) for sample in samples] == [
        ("v1_0_a", {"wav": b"1", "txt": b"2"}),
        (f"v1_0_{long}_{long}", {"seg.wav": b"3"}),
        ("b", {"txt": b""}),
    ]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_tar(tmp_path / "a.tar", [("a.txt", b"1")], "w:gz").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert [sample.members for sample in read_foreign(Path("-"))] == [{"txt": b"1"}]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (link("a.txt", tarfile.SYMTYPE), "symbolic link"),
        (link("a.txt", tarfile.LNKTYPE), "hard link"),
        (link("a.txt", tarfile.CHRTYPE), "device"),
        (link("a.txt", tarfile.FIFOTYPE), "named pipe"),
        (link("../folder", tarfile.DIRTYPE), "leads out"),
        ("/etc/a.txt", "leads out"),
        ("x/../../a.txt", "leads out"),
        ("a.pkl", "pickled"),
        ("x/a.seg.PT", "pickled"),
        ("a.npz", "pickled"),
        ("ok.wav", "twice|duplicate"),
        ("./ok.wav", "twice|duplicate"),
    ],
)
def test_hostile_members(tmp_path: Path, member: str | tarfile.TarInfo, words: str) -> None:
    path = make_tar(tmp_path / "a.tar", [("ok.wav", b""), (member, b"")])
    with pytest.raises(ArlError, match=words) as caught:
        list(read_foreign(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_keys_that_come_back(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", [("a.wav", b""), ("b.wav", b""), ("a.txt", b"")])
    with pytest.raises(ArlError, match="sample 'a' comes twice, or its members are not adjacent"):
        list(read_foreign(path))
    make_tar(path, [("a/b.wav", b""), ("a_b.wav", b"")])
    assert [sample.key for sample in read_foreign(path)] == ["a_b", "a_b"]  # `arl data` gives the second another key


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_cut_anywhere(tmp_path: Path, mode: str) -> None:
    """Also at a member boundary, where webdataset itself sees a shorter tar."""
    whole = make_tar(tmp_path / "a.tar", [("a.wav", b"1" * 700), ("b.wav", b"2")], mode).read_bytes()
    content = 3072 if mode == "w" else len(whole)  # the padding may be missing, not the first zero block
    for cut in [*range(0, content, 97), content - 1]:
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        with pytest.raises(ArlError, match=str(tmp_path)):
            list(read_foreign(tmp_path / "cut.tar"))


def test_two_tars_in_one_file(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", [("a.wav", b"1")])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ArlError, match="data after the end"):
        list(read_foreign(path))


def test_a_negative_size_is_no_endless_loop(tmp_path: Path) -> None:
    block = bytearray(tarfile.TarInfo("a.txt").tobuf())
    block[124:136] = (2**96 - 1024).to_bytes(12, "big")
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(2048))
    with pytest.raises(ArlError):
        list(read_foreign(tmp_path / "a.tar"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [10**8, 2**40, 2**62])
def test_a_size_that_is_claimed_takes_no_memory(tmp_path: Path, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("a.txt")
    info.type, info.size = kind, size
    tracemalloc.start()
    for compress in (bytes, gzip.compress):
        (tmp_path / "a.tar").write_bytes(compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
        with pytest.raises(ArlError, match=r"a.tar: "):
            list(read_foreign(tmp_path / "a.tar"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("record", [b"9999999999999999999 path=x\n", b"29 size=18446744073709551616\n"])
def test_extended_headers_beyond_all_numbers(tmp_path: Path, record: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    (tmp_path / "a.tar").write_bytes(
        info.tobuf() + record.ljust(512, b"\0") + tarfile.TarInfo("a.txt").tobuf() + bytes(2048)
    )
    with pytest.raises(ArlError, match=r"a.tar: "):
        list(read_foreign(tmp_path / "a.tar"))


def test_a_damaged_shard_of_ours_is_no_foreign_tar(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("a", {"txt": b"one"})])
    (sample,) = read_foreign(tmp_path / "a.tar")
    assert sample.members == {"txt": b"one"} and not sample.offsets
    for old, new in ((b"one", b"two"), (b'"samples"', b'"simples"')):
        (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar").read_bytes().replace(old, new))
        with pytest.raises(ArlError, match=r"b.tar: (the bytes of its 1 samples|damaged end marker)"):
            list(read_foreign(tmp_path / "b.tar"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArlError, match="cannot be read"):
        list(read_foreign(tmp_path / "none.tar"))


@given(st.text(min_size=1, max_size=50))
def test_legal_keys_are_legal(key: str) -> None:
    assert key_problem(legal_key(key)) is None


def test_imported_samples_become_a_shard(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", [("__x/a.wav", b"1"), ("ü/b.wav", b"2")])
    write_shard(tmp_path / "b.tar", ((sample.key, sample.members) for sample in read_foreign(path)))
    assert [sample.key for sample in read_shard(tmp_path / "b.tar")] == ["k__x_a", "ü_b"]
