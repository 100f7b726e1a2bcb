r"""Only \n and \r\n end a line, and what is not UTF-8 is said with its line."""

from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.text.lines import read_each_line, read_lines

SEPARATORS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"


@pytest.mark.parametrize("separator", SEPARATORS)
def test_other_separators_end_no_line(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(f"a one{separator}two\r\n\nb three".encode())
    assert read_lines(path) == [f"a one{separator}two", "", "b three"]


@pytest.mark.parametrize(
    ("data", "lines"), [(b"", []), (b"\n", [""]), (b"a", ["a"]), (b"\xef\xbb\xbfa\tb\n", ["a\tb"])]
)
def test_ends_and_byte_order_mark(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "x").write_bytes(data)
    assert read_lines(tmp_path / "x") == lines


def test_what_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("a\ncaf\xe9\nb\n".encode("latin-1"))
    assert read_each_line(path) == ["a", None, "b"]
    with pytest.raises(ArlError, match="x: not UTF-8 text in line 2"):
        read_lines(path)
    for encoding, reason in (("utf-16", "not UTF-8 text but UTF-16"), ("utf-16-le", "not UTF-8 text in line 1")):
        path.write_bytes("a\tone\n".encode(encoding))
        with pytest.raises(ArlError, match=reason):
            read_lines(path)
    for wrong in (tmp_path, tmp_path / "nowhere", tmp_path / "nul\0"):
        with pytest.raises(ArlError, match="cannot be read"):
            read_lines(wrong)
