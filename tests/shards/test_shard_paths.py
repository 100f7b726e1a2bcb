"""The path grammar: folders, shards, braces, standard input; and pairing sources by name."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError, UsageError
from arl.shards.paths import expand, joined_shards, spooled


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """emb/ and rollout/ with 000000..000002, and things beside them that are no shards."""
    for folder in ("emb", "rollout"):
        (tmp_path / folder).mkdir()
        for name in ("000002.tar", "000000.tar", "000001.tar", ".000003.tar.tmp-1", ".hidden.tar", "stage.jsonl"):
            (tmp_path / folder / name).touch()
        (tmp_path / folder / "sub.tar").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["emb"], ["emb/000000.tar", "emb/000001.tar", "emb/000002.tar"]),
        (["emb/"], ["emb/000000.tar", "emb/000001.tar", "emb/000002.tar"]),
        (["emb/000001.tar"], ["emb/000001.tar"]),
        (["emb/{000001..000002}.tar"], ["emb/000001.tar", "emb/000002.tar"]),
        (["emb/{000002..000000}.tar"], ["emb/000002.tar", "emb/000001.tar", "emb/000000.tar"]),
        (["{emb,rollout}/000000.tar"], ["emb/000000.tar", "rollout/000000.tar"]),
        (["emb/00000{0,2}.tar", "-"], ["emb/000000.tar", "emb/000002.tar", "-"]),
    ],
)
def test_the_grammar(tree: Path, specs: list[str], expected: list[str]) -> None:
    assert names(expand(specs)) == expected


def test_a_path_that_exists_is_never_a_brace_list(tree: Path) -> None:
    (tree / "{a,b}.tar").touch()
    assert names(expand(["{a,b}.tar"])) == ["{a,b}.tar"]


@pytest.mark.parametrize(
    ("specs", "error", "words"),
    [
        ([], UsageError, "no shards given"),
        ([""], UsageError, "empty path"),
        (["-", "-"], UsageError, "once"),
        (["emb/{000000.tar"], UsageError, "unbalanced"),
        (["emb/{0..99999999}.tar"], UsageError, "more than"),
        (["nowhere/"], ArlError, "nowhere"),
        (["emb/000009.tar"], ArlError, "emb/000009.tar"),
        (["emb/{000001..000003}.tar"], ArlError, "emb/000003.tar"),
        (["."], ArlError, "no shards"),
        (["x" * 300], ArlError, "no such shard"),
        (["a\0b"], ArlError, "no such shard"),
    ],
)
def test_what_matches_nothing_is_an_error(tree: Path, specs: list[str], error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        expand(specs)
    assert type(caught.value) is error


@given(st.text(alphabet="{}.,-\\/0a*"))
def test_any_word_is_expanded_or_refused(word: str) -> None:
    try:
        assert expand([word])
    except ArlError as error:
        assert "\n" not in str(error)


@given(st.integers(0, 30), st.integers(0, 5), st.integers(2, 6))
def test_a_zero_padded_range_names_its_shards(
    tmp_path_factory: pytest.TempPathFactory, first: int, extra: int, width: int
) -> None:
    folder = tmp_path_factory.mktemp("range")
    expected = [folder / f"a-{number:0{width}}.tar" for number in range(first, first + extra + 1)]
    for path in expected:
        path.touch()
    numbers = f"{first:0{width}}..{first + extra:0{width}}"
    assert expand([f"{folder}/a-{{{numbers}}}.tar"]) == expected


def test_sources_are_paired_by_name(tree: Path) -> None:
    pairs = joined_shards(["emb", "rollout/{000002..000000}.tar"])
    assert [(name, names(paths)) for name, paths in pairs] == [
        (name, [f"emb/{name}.tar", f"rollout/{name}.tar"]) for name in ("000000", "000001", "000002")
    ]
    assert joined_shards(["emb/000001.tar"]) == [("000001", [Path("emb/000001.tar")])]


@pytest.mark.parametrize("missing", ["emb", "rollout"])
def test_a_missing_counterpart_is_named(tree: Path, missing: str) -> None:
    (tree / missing / "000001.tar").unlink()
    with pytest.raises(ArlError, match=f"{missing}/000001.tar: missing"):
        joined_shards(["emb", "rollout"])


def test_one_source_holds_a_name_once(tree: Path) -> None:
    with pytest.raises(UsageError, match="two shards of one name"):
        joined_shards(["{emb,rollout}/"])


def test_standard_input_pairs_with_single_shards(tree: Path) -> None:
    assert joined_shards(["-", "emb/000001.tar"]) == [("000001", [Path("-"), Path("emb/000001.tar")])]
    assert joined_shards(["-"]) == [("stdin", [Path("-")])]
    with pytest.raises(UsageError, match="single shards"):
        joined_shards(["-", "emb"])
    with pytest.raises(UsageError, match="single shards"):
        joined_shards(["-", "-"])


def test_spooled_input_is_a_file_for_as_long_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tar bytes")))
    with spooled([Path("a.tar"), Path("-")]) as (first, copy):
        assert first == Path("a.tar")
        assert copy.suffix == ".tar" and copy.read_bytes() == b"tar bytes"
    assert not copy.exists()
    with spooled([first]) as unchanged:
        assert unchanged == [first]
