"""Header blocks of tar files: what is made and read at once is what tarfile makes and reads."""

import tarfile

from hypothesis import given
from hypothesis import strategies as st

from arl.shards.tar import BLOCK, Header, member_header, parse_header

names = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120),
                  st.from_regex(r"[a-z0-9./-]{1,105}", fullmatch=True))  # fmt: skip
sizes = st.one_of(st.integers(0, 1 << 40), st.integers(8**11 - 2, 8**11 + 2))


def by_tarfile(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def read_by_tarfile(block: bytes) -> Header | None:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        return None
    return Header(info.name, info.size, info.type) if info.size >= 0 else None


@given(names, sizes)
def test_headers_are_tarfiles(name: str, size: int) -> None:
    made = member_header(name, size)
    assert made == by_tarfile(name, size)
    for start in range(0, len(made), BLOCK):
        block = made[start : start + BLOCK]
        assert parse_header(block) == read_by_tarfile(block)


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
    assert parse_header(block) == read_by_tarfile(block)


def test_a_usual_header_says_what_it_was_made_of() -> None:
    assert parse_header(member_header("utt-1.rollout.json", 4711)) == Header(
        "utt-1.rollout.json", 4711, tarfile.REGTYPE
    )
