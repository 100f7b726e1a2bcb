"""What one or more systems heard, by key: rollout shards of our engine, or a table of any outside system.

    base=run/rollout        .rollout.json shards: the first hypothesis of each group, or all of them
    whisper=whisper.tsv     key<TAB>text, one utterance a line, UTF-8, no header

An empty text is a transcript (the system heard nothing); a key without a line, and a group without hypotheses, is an
utterance without one. Keys of other utterances are passed over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from arl.errors import ArlError, UsageError
from arl.runtime.budget import FailureBudget
from arl.shards.paths import SUFFIX, expand
from arl.shards.reader import read_shard
from arl.shards.rows import Rollout
from arl.text.lines import NOT_UTF8, read_each_line

Hyps = Literal["first", "all"]
FIRST: Hyps
ALL: Hyps
FIRST, ALL = "first", "all"
Transcripts = Mapping[str, Sequence[str]]  # key to the texts of one system, at least one


def parse(specs: Sequence[str]) -> dict[str, str]:
    """['base=run/rollout'] → {'base': 'run/rollout'}. Raises UsageError."""
    systems: dict[str, str] = {}
    for spec in specs:
        name, equals, where = spec.partition("=")
        if not re.fullmatch(r"\w[\w-]*", name) or not equals or not where:
            raise UsageError(f"--system {spec}: write NAME=rollout/ or NAME=file.tsv")
        if name in systems:
            raise UsageError(f"--system {spec}: {name!r} is {systems[name]} already; give it another name")
        systems[name] = where
    return systems


def is_table(where: str) -> bool:
    """Whether a system's transcripts are in a table, not in shards."""
    return not Path(where).is_dir() and not where.endswith((SUFFIX, "}"))


def read(name: str, where: str, hyps: Hyps = FIRST, budget: FailureBudget | None = None) -> dict[str, Sequence[str]]:
    """The transcripts of one system. A bad line of a table is spent from the budget, by default one of none.

    Raises ArlError naming the file and line, or the shard and sample.
    """
    if is_table(where):
        return _table(name, Path(where), budget or FailureBudget(0))
    found: dict[str, Sequence[str]] = {}
    for place, key, texts in _rollouts(where, hyps):
        if key in found:
            raise ArlError(f"{place}: system {name!r} has {key!r} twice; keep one of them")
        found[key] = texts
    return found


def _table(name: str, path: Path, budget: FailureBudget) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    lines = read_each_line(path, "a system is rollout/, or a file of key<TAB>text")
    for number, line in enumerate(lines, 1):
        where, (key, tab, text) = f"{path}:{number}", (line or "").partition("\t")
        if line is None:
            budget.spend_line(f"{where}: {NOT_UTF8}; save it as UTF-8")
        elif line.strip() and not (tab and key.strip()):
            budget.spend_line(f"{where}: no {'key' if tab else 'tab'}; a line is key<TAB>text")
        elif key.strip() in found:
            budget.spend(f"{where}: system {name!r} has {key.strip()!r} twice; keep one of them")
        elif line.strip():
            found[key.strip()] = (text.strip(),)
    return found


def _rollouts(where: str, hyps: Hyps) -> Iterator[tuple[str, str, Sequence[str]]]:
    for shard in expand([where]):
        for sample in read_shard(shard):
            texts = [hyp.text for hyp in Rollout.of(sample).hyps]
            if texts:  # a row without hypotheses is an utterance that failed
                yield sample.where, sample.key, texts if hyps == ALL else texts[:1]
