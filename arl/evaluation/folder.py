"""The folder that an evaluation leaves: `utterances.jsonl`, one row per utterance, and `summary.json`.

    rows = read_rows(Path("eval/start"), RECOGNITION)

Left out: reading the summary back for comparisons; they count the rows.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.evaluation.kind import Kind
from arl.evaluation.metric import Rows
from arl.shards.durable import write_file
from arl.text.lines import read_lines

UTTERANCES, SUMMARY, REPORT = WRITTEN = "utterances.jsonl", "summary.json", "report.md"


def write(folder: Path, rows: Rows, summary: Mapping[str, Any], report: str = "") -> None:
    """The files, each replaced whole, the summary last. report: the page `report.md`, empty for none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (UTTERANCES, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        *([(REPORT, report)] if report else []),
        (SUMMARY, json.dumps(summary, indent=1) + "\n"),
    ):
        write_file(folder / name, text)


def read_rows(folder: Path, kind: Kind) -> list[dict[str, Any]]:
    """The rows of an earlier `arl eval -o folder`. ArlError when there are none, or a row is of another kind."""
    path = folder / UTTERANCES
    rows = [_row(line, where, kind) for line, where in _lines(path)]
    if not rows:
        raise ArlError(f"{path}: no utterance in it; evaluate again")
    return rows


def first_row(folder: Path) -> dict[str, Any]:
    """The first row, of whatever kind; {} where there is none that can be read."""
    for line, _ in _lines(folder / UTTERANCES):
        with suppress(ValueError):
            row = json.loads(line)
            return row if isinstance(row, dict) else {}
    return {}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(line, where it stands) of all that are not empty. ArlError when there is no such file."""
    if not path.is_file():
        raise ArlError(f"{path}: no evaluation there; `arl eval -o {path.parent}` makes one")
    for number, line in enumerate(read_lines(path), 1):
        if line:
            yield line, f"{path}:{number}"


def _row(line: str, where: str, kind: Kind) -> dict[str, Any]:
    try:
        row = json.loads(line)
        missing = [name for name in kind.fields if name not in row]
    except (ValueError, TypeError) as error:
        raise ArlError(f"{where}: not a row of an evaluation ({error}); evaluate again") from error
    if missing:
        raise ArlError(f"{where}: no field {missing[0]!r}; evaluate {kind.name} again with this version of arl")
    return row
