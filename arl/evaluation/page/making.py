"""How a run was made: its commands, the versions of packages, its data, and the policy that it began as.

    made = making(Path("runs/demo"))
    made.commands[0].line          # "arl encode --shards runs/demo/data/train --policy runs/demo/policy …"

All of it is read from `stage.jsonl`, `data.json` and `arl.json`. Left out: commands of records that earlier versions
wrote, which have arguments only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.evaluation.page.compared import START, newest
from arl.evaluation.run_report import step_records
from arl.policy import Policy
from arl.shards.record import RECORD, read_record

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """where: the folder of the record, relative to the run. line: as typed, else "". arguments: what changes the
    result, as `name value` pairs."""

    stage: str
    where: str
    line: str
    arguments: list[tuple[str, str]]


@dataclass(frozen=True)
class Data:
    """A corpus of the run: where, what it was made from, utterances and seconds of all its splits."""

    where: str
    corpus: str
    utterances: int
    seconds: float


@dataclass(frozen=True)
class Making:
    """commands: those before the loop, of its first step, and of evaluations. steps: of every step, in its order.
    versions: package → versions, several where they changed. rewards: programs as the first step's record names them.
    policy: fields of arl.json, {} where the folder is gone."""

    commands: list[Command]
    steps: list[Command]
    versions: dict[str, list[str]]
    data: list[Data]
    rewards: list[Record]
    settings: Record
    policy: Record


def making(run: Path) -> Making:
    """What the records of a run say."""
    before = [(folder, read_record(folder)) for folder in _prepared(run)]
    steps = [(folder, step_records(folder)) for folder in sorted(run.glob("step-*"))]
    later = newest(run)
    evaluations = [folder for folder in (run / "eval" / START, later) if folder is not None]
    judged = [(folder, read_record(folder)) for folder in evaluations]
    in_step = [[_command(run, folder / stage, lines[0]) for stage, lines in own.items() if lines]
               for folder, own in steps]  # fmt: skip
    first: dict[str, list[dict[str, Any]]] = steps[0][1] if steps else {}
    records = [line for _, lines in [*before, *judged] for line in lines]
    records += [line for _, own in steps for lines in own.values() for line in lines]
    return Making(
        [*(_command(run, folder, lines[0]) for folder, lines in before if lines), *(in_step[0] if in_step else []),
         *(_command(run, folder, lines[0]) for folder, lines in judged if lines)],
        [command for own in in_step for command in own],
        _versions(records),
        list(_data(run)),
        _arguments(first.get("reward")).get("with", []),
        _arguments(first.get("update")),
        _policy(run),
    )  # fmt: skip


def _prepared(run: Path) -> list[Path]:
    """The folders of data and embeddings."""
    return sorted({path.parent for name in ("data", "emb") for path in (run / name).rglob(RECORD)})


def _command(run: Path, folder: Path, line: Record) -> Command:
    where = str(folder.relative_to(run))
    return Command(line.get("stage", ""), where, line.get("command", ""), list(_pairs(line.get("arguments") or {})))


def _pairs(arguments: Record) -> Iterator[tuple[str, str]]:
    """Those that say something."""
    for name, value in arguments.items():
        if value not in (None, "", [], {}, False):
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _arguments(lines: Sequence[Record] | None) -> Record:
    return (lines[0].get("arguments") or {}) if lines else {}


def _versions(records: Sequence[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return found


def _data(run: Path) -> Iterator[Data]:
    for path in sorted((run / "data").rglob("data.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(path.read_text())
            splits = found["splits"].values()
            utterances, seconds = (sum(split[name] for split in splits) for name in ("utterances", "seconds"))
            yield Data(str(path.parent.relative_to(run)), found["arguments"]["corpus"], utterances, seconds)


def _policy(run: Path) -> Record:
    try:
        return Policy.open(run / "policy").fields
    except ArlError:
        return {}
