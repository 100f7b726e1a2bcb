"""The path grammar of every command: which shards a list of words on the command line means.

    emb/                     a folder: its *.tar, sorted by name
    emb/000003.tar           one shard
    emb/{000000..000012}.tar a range, all of which must be there; {a,b} is a list
    -                        standard input

    expand(["emb/", "-"])
    joined_shards(["emb/", "rollout/"])      # [("000000", [emb/000000.tar, rollout/000000.tar]), ...]

Left out: globs, which the shell expands, and addresses of other machines.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from braceexpand import braceexpand

from arl.errors import ArlError, UsageError

STDIN = "-"
SPOOL = "arl-stdin-"  # how the folder of a copy of standard input begins
SUFFIX = ".tar"
MAX_RANGE = 1_000_000  # shards of one range: a typing error would otherwise fill the memory


def expand(specs: Sequence[str | Path]) -> list[Path]:
    """The shards that `specs` name, in the order given. Path("-") stands for standard input.

    Raises UsageError for words outside the grammar, ArlError for a shard that is not there or a folder without any.
    """
    paths = [path for spec in specs for word in expand_braces(str(spec)) for path in _shards_at(word)]
    if not paths:
        raise UsageError("no shards given: a folder, a .tar, a-{000000..000012}.tar or - (standard input)")
    if [str(path) for path in paths].count(STDIN) > 1:
        raise UsageError("standard input (-) can be named once only")
    return paths


def expand_braces(word: str) -> Iterable[str]:
    """`{000000..000012}` and `{a,b}` in one word, as a shell does; a word that exists as it stands is itself."""
    if "{" not in word or os.path.exists(word):
        return [word]
    for first, last in re.findall(r"\{(-?\d+)\.\.(-?\d+)", word):
        if len(first + last) > 30 or abs(int(last) - int(first)) >= MAX_RANGE:
            raise UsageError(f"{word}: a range of more than {MAX_RANGE} shards; give their folder")
    try:
        return braceexpand(word)
    except ValueError as error:
        raise UsageError(f"{word}: unbalanced braces; write a-{{000000..000012}}.tar") from error


def _shards_at(word: str) -> list[Path]:
    path = Path(word)
    if not word:
        raise UsageError("an empty path; write . for the current folder")
    if word == STDIN:
        return [path]
    if os.path.isdir(word):
        shards = sorted(shard for shard in path.glob(f"*{SUFFIX}") if shard.is_file() and shard.name[0] != ".")
        if not shards:
            raise ArlError(f"{path}: no shards (*{SUFFIX}) in this folder; run the stage that fills it")
        return shards
    if not os.path.exists(word):
        raise ArlError(f"{path}: no such shard or folder")
    return [path]


def shard_name(path: Path) -> str:
    """The name that a shard has in every stage's folder: without folder and `.tar`."""
    return path.name.removesuffix(SUFFIX)


def joined_shards(specs: Sequence[str]) -> list[tuple[str, list[Path]]]:
    """Pairs the shards of several sources by name: [(name without .tar, [its path in each source])].

    Each spec is one source. Raises ArlError unless every source holds the same names; standard input has no name
    and is paired with the only shard of each other source.
    """
    return match_sources([expand([spec]) for spec in specs])


def match_sources(sources: Sequence[Sequence[Path]]) -> list[tuple[str, list[Path]]]:
    """`joined_shards` for sources already expanded: each a list of shards, in the order of the first one."""
    if not sources:
        raise UsageError("no shards given: at least one folder")
    if any(str(path) == STDIN for source in sources for path in source):
        return [_match_stdin(sources)]
    tables = [_by_name(source) for source in sources]
    for table in tables[1:]:
        _require_same_names(tables[0], table)
        _require_same_names(table, tables[0])
    return [(name, [table[name] for table in tables]) for name in tables[0]]


def _match_stdin(sources: Sequence[Sequence[Path]]) -> tuple[str, list[Path]]:
    paths = [path for source in sources for path in source]
    if any(len(source) != 1 for source in sources) or [str(path) for path in paths].count(STDIN) > 1:
        raise UsageError("standard input (-) is one shard without a name: join it with single shards only")
    names = [shard_name(path) for path in paths if str(path) != STDIN]
    return (names[0] if names else "stdin", paths)


def _by_name(source: Sequence[Path]) -> dict[str, Path]:
    table: dict[str, Path] = {}
    for path in source:
        other = table.setdefault(shard_name(path), path)
        if other is not path:
            raise UsageError(f"{path} and {other}: two shards of one name in one source")
    return table


def _require_same_names(there: dict[str, Path], here: dict[str, Path]) -> None:
    missing = [name for name in there if name not in here]
    if missing:
        folder = next(iter(here.values())).parent
        raise ArlError(
            f"{folder / missing[0]}{SUFFIX}: missing, to be joined with {there[missing[0]]}"
            + (f" ({len(missing) - 1} more like it)" if len(missing) > 1 else "")
            + "; run the stage that writes it, or name the same shards in each source"
        )


@contextmanager
def spooled(paths: Sequence[Path], name: str = "stdin") -> Iterator[list[Path]]:
    """`paths` with standard input copied to a temporary `name`.tar, so that it can be read in place, and twice.

    The copy lives as long as the block. `read_shard(Path("-"))` needs none: it reads as the data comes.
    """
    if all(str(path) != STDIN for path in paths):
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix=SPOOL) as folder:
        copy = Path(folder) / f"{name}{SUFFIX}"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        yield [copy if str(path) == STDIN else path for path in paths]
