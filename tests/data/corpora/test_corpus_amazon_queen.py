"""The voiced lines of the game: its file's format on a miniature made here, and the corpus itself from its package."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from arl.audio.io import load
from arl.data.corpora.amazon_queen import LEFT_OUT, N_UTTERANCES, TABLE, corpus, read_table, utterances
from arl.data.corpora.queen_file import HEADER, Line, QueenFile, lines
from arl.errors import ArlError

WORDS = st.text("abcdefgh' ", min_size=1, max_size=40).map(lambda text: f"x{text}".rstrip())


def dialogue(key: int, hero: dict[int, str], other: dict[int, str], levels: int = -2) -> bytes:
    """A `.DOG` entry: lines by id."""

    def table(said: dict[int, str]) -> bytes:
        out = b""
        for number, text in said.items():
            out += struct.pack(">xxhB", number, len(text)) + text.encode("latin-1")
            out += bytes(-len(out) % 4)
        return out

    begin = 32 + 96 * abs(levels)
    others = begin + len(table(hero))
    head = struct.pack(">hhhhh", levels, 0, key, len(hero), len(other)) + bytes(12) + struct.pack(">H", others)
    return bytes(HEADER) + head.ljust(begin, b"\0") + table(hero) + table(other)


def cut_scene(sentences: list[str], first: str = "", sign: int = -1) -> bytes:
    """A `.CUT` entry: the sentence that is not counted, and the others."""
    body = bytes([len(first)]) + first.encode()
    for sentence in sentences:
        body += bytes(len(body) % 2) + bytes([len(sentence)]) + sentence.encode()
    return bytes(HEADER) + struct.pack(">hhhhH", 2, sign * len(sentences), 0, 0, 12) + bytes(2) + body


def game(path: Path, entries: dict[str, bytes]) -> QueenFile:
    head = b"QTBL" + b"CEM10\0" + bytes(2) + b"\x01" + struct.pack(">H", len(entries))
    offset, table = len(head) + 21 * len(entries), b""
    for name, content in entries.items():
        table += struct.pack(">12sBII", name.encode(), 1, offset, len(content))
        offset += len(content)
    path.write_bytes(head + table + b"".join(entries.values()))
    return QueenFile(path)


def clip() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(11025) / 9).astype(np.float32) / 3, 11025, format="MP3")
    return file.getvalue()


@pytest.fixture
def miniature(tmp_path: Path) -> QueenFile:
    clips = ["020006J1", "02000AP1", "02000AP2", "C18C_012", "C18C_021", "JOE00412", "JOE00431", "SSSS"]
    return game(
        tmp_path / "queen.1c",
        {
            "AND1.DOG": dialogue(2, {6: "*FRAt least.*15"[3:]}, {10: "No!*02Trouble, King.*05", 11: "not voiced"}),
            "C18C.CUT": cut_scene(["*FBAzura!", "*", "You're safe!*03"][::2], first="*FR"),
            "QUEEN2.JAS": b"one*02Two,*XY123456789three*24\r\n\r\nIt looks nice*03\r\n",
            **{f"{name}.SB": clip() for name in clips},
        },
    )


def test_lines_of_all_three_kinds(miniature: QueenFile) -> None:
    assert lines(miniature) == {
        "020006J1": Line("joe", "At least."),
        "02000AP1": Line("and", "No!"),
        "02000AP2": Line("and", "Trouble, King."),
        "C18C_012": Line("", "Azura!"),
        "C18C_021": Line("", "You're safe!"),
        "JOE00412": Line("joe", "Two,"),
        "JOE00431": Line("joe", "It looks nice"),
    }


def test_utterances_with_the_table_of_speakers(miniature: QueenFile) -> None:
    found = {u.key: u for u in utterances(miniature.path, {"C18C_012": "prin", "JOE00412": LEFT_OUT})}
    assert [u.speaker for u in found.values()] == ["joe", "and", "and", "prin", "", "joe"]
    audio = found["C18C_012"].audio
    assert callable(audio)
    assert len(load(audio(), name=found["C18C_012"].name)) == pytest.approx(16000, abs=2000)


@given(said=st.dictionaries(st.integers(0, 300), WORDS, max_size=5), levels=st.integers(-3, 3))
def test_any_dialogue(tmp_path_factory: pytest.TempPathFactory, said: dict[int, str], levels: int) -> None:
    voiced = {f"07{number:04X}P1.SB": b"" for number in said}
    file = game(tmp_path_factory.mktemp("game") / "q", {"X.DOG": dialogue(7, {}, said, levels), **voiced})
    assert lines(file) == {f"07{number:04X}P1": Line("x", " ".join(said[number].split())) for number in sorted(said)}


@given(sentences=st.lists(WORDS, max_size=6), first=st.sampled_from(["", "*FR"]), sign=st.sampled_from([-1, 1]))
def test_any_cut_scene(tmp_path_factory: pytest.TempPathFactory, sentences: list[str], first: str, sign: int) -> None:
    voiced = {f"C1A__{number:02d}1.SB": b"" for number in range(1, len(sentences) + 1)}
    file = game(tmp_path_factory.mktemp("game") / "q", {"C1A.CUT": cut_scene(sentences, first, sign), **voiced})
    assert [line.text for line in lines(file).values()] == [" ".join(sentence.split()) for sentence in sentences]


def test_what_is_no_game(tmp_path: Path, miniature: QueenFile) -> None:
    content = miniature.path.read_bytes()
    for cut, said in ((b"RIFF" + content[4:], "not the file of the game"), (content[:40], "table of entries")):
        (tmp_path / "bad").write_bytes(cut)
        with pytest.raises(ArlError, match=said):
            QueenFile(tmp_path / "bad")
    miniature.path.write_bytes(content[: content.index(b"Trouble")])
    with pytest.raises(ArlError, match=r"cut within AND1\.DOG"):
        lines(miniature)
    file = game(tmp_path / "short", {"A.DOG": dialogue(1, {1: "hello"}, {})[:-9]})
    with pytest.raises(ArlError, match=r"A\.DOG ends early"):
        lines(file)


@pytest.mark.registry
def test_corpus_from_its_package(tmp_path: Path) -> None:
    found = {entry.key: entry for entry in corpus().entries(tmp_path)}  # type: ignore[union-attr]
    told = read_table(TABLE)
    assert len(found) == N_UTTERANCES and not set(found) & {
        clip for clip, speaker in told.items() if speaker == LEFT_OUT
    }
    assert found["020007J1"].text == "At least MY plane doesn't have training wheels."  # type: ignore[union-attr]
    assert "may not charge a fee for the game itself" in corpus().licence
