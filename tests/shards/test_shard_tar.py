"""Header blocks of tar files, and the bytes of a shard that the version before wrote (before.tar)."""

import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from arl.shards.reader import read_shard
from arl.shards.tar import BLOCK, member_header, parse_header
from arl.shards.writer import write_shard

BEFORE = Path(__file__).parent / "before.tar"
SAMPLES = [
    ("utt-0001", {"json": b'{"text":"hello"}', "wav": bytes(range(256)) * 3}),
    ("a" * 120, {"rollout.json": b"{}"}),  # a long name and one beyond ASCII: PAX headers
    ("réponse-音", {"reward.json": b'{"rewards":[1]}'}),
    ("utt-2", {"json": b""}),
]
names = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120),
                  st.from_regex(r"[a-z0-9./-]{1,105}", fullmatch=True))  # fmt: skip
sizes = st.one_of(st.integers(0, 1 << 40), st.integers(8**11 - 2, 8**11 + 2))


def test_a_shard_has_the_bytes_it_had_before(tmp_path: Path) -> None:
    write_shard(tmp_path / "now.tar", SAMPLES, "fingerprint")
    assert (tmp_path / "now.tar").read_bytes() == BEFORE.read_bytes()


def test_a_shard_of_before_is_read() -> None:
    assert [(sample.key, dict(sample.members)) for sample in read_shard(BEFORE)] == SAMPLES


@given(names, sizes)
def test_headers_are_tarfiles(name: str, size: int) -> None:
    made = member_header(name, size)
    info = tarfile.TarInfo(name)
    info.size = size
    assert made == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    for start in range(0, len(made), BLOCK):
        block = made[start : start + BLOCK]
        assert _parsed(block) == _read_by_tarfile(block)


@given(
    st.from_regex(r"[a-z]{1,99}", fullmatch=True),
    st.integers(0, 8**11 - 1),
    st.integers(0, 511),
    st.binary(min_size=1, max_size=4),
)
def test_any_other_block_is_read_as_tarfile_reads_it(name: str, size: int, place: int, bytes_: bytes) -> None:
    """Changed bytes: another checksum, kind, date, owner, or a link."""
    made = member_header(name, size)
    block = (made[:place] + bytes_ + made[place + len(bytes_) :])[:BLOCK]
    assert _parsed(block) == _read_by_tarfile(block)


def test_a_usual_header_says_what_it_was_made_of() -> None:
    expected = ("utt-1.rollout.json", 4711, tarfile.REGTYPE)
    assert _parsed(member_header("utt-1.rollout.json", 4711)) == expected


def _parsed(block: bytes) -> tuple[str, int, bytes] | None:
    header = parse_header(block)
    return header and (header.name, header.size, header.type)


def _read_by_tarfile(block: bytes) -> tuple[str, int, bytes] | None:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        return None
    return (info.name, info.size, info.type) if info.size >= 0 else None
