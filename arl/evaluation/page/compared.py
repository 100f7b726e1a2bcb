"""A run's first and newest evaluation, A and B, and how B differs from A.

found = compared(Path("runs/demo"))         # None where the run has not been evaluated twice
found.result["relative_low"]
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.evaluation.compare import compare, paired
from arl.evaluation.folder import SUMMARY, read_rows
from arl.evaluation.kind import Kind
from arl.evaluation.kinds import kind_of_folder
from arl.evaluation.metric import Row
from arl.shards.record import read_record

START, FINAL = "000000", "final"


@dataclass(frozen=True)
class Compared:
    """a, b: the folders. old, new: their rows, row by row the same utterances. result: of `arl eval --compare A B`."""

    kind: Kind
    a: Path
    b: Path
    old: Sequence[Row]
    new: Sequence[Row]
    result: dict[str, Any]


def newest(run: Path) -> Path | None:
    """The folder of the evaluation of the latest policy; of two, `final`. None where only the start was evaluated.

    By what the evaluations say, not by the times of their files: a run that was copied has the same newest one.
    """
    found = [path.parent for path in (run / "eval").glob(f"*/{SUMMARY}")]
    later = [folder for folder in found if folder.name == FINAL or (folder.name.isdigit() and folder.name != START)]
    return max(later, key=lambda folder: (policy_step(folder), folder.name == FINAL), default=None)


def policy_step(folder: Path) -> int:
    """How many updates its policy had: by the version in the summary, or in the record of the rollouts it judges;
    where neither is there, by the folder's name, and the most for `final`."""
    versions = [json.loads((folder / SUMMARY).read_text()).get("policy")]
    versions += [line.get("policy") for line in read_record(folder / "rollout")]
    for version in versions:
        if version and version.partition("-")[0].isdigit():
            return int(version.partition("-")[0])
    return int(folder.name) if folder.name.isdigit() else sys.maxsize


def compared(run: Path, seed: int = 0) -> Compared | None:
    """ArlError where the two are of different utterances."""
    a, b = run / "eval" / START, newest(run)
    if b is None or not (a / SUMMARY).is_file():
        return None
    kind = kind_of_folder(a)
    old, new = read_rows(a, kind), read_rows(b, kind)
    result = compare(kind, new, old, seed)
    return Compared(kind, a, b, paired(new, old), new, result)
