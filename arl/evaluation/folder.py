"""The folder that an evaluation leaves: `utterances.jsonl`, one row per utterance, and `summary.json`.

    rows = read_rows(Path("eval/start"))

Left out: reading the summary back for comparisons; they count the rows.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.evaluation.score import ERRORS, KEYWORDS

UTTERANCES, SUMMARY = "utterances.jsonl", "summary.json"
FIELDS = ("set", "key", "lang", "reference", *ERRORS, *(f"keywords_{name}" for name in KEYWORDS), "rules", "alignment")


def write(folder: Path, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """Both files, each replaced whole; the summary last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (UTTERANCES, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        (SUMMARY, json.dumps(summary, indent=1) + "\n"),
    ):
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of an earlier `arl eval -o folder`. ArlError when there are none, or a row lacks a field."""
    path = folder / UTTERANCES
    if not path.is_file():
        raise ArlError(f"{path}: no evaluation there; `arl eval -o {folder}` makes one")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line:
            rows.append(_row(line, f"{path}:{number}"))
    if not rows:
        raise ArlError(f"{path}: no utterance in it; evaluate again")
    return rows


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        missing = [name for name in FIELDS if name not in row]
    except (ValueError, TypeError) as error:
        raise ArlError(f"{where}: not a row of an evaluation ({error}); evaluate again") from error
    if missing:
        raise ArlError(f"{where}: no field {missing[0]!r}; evaluate again with this version of arl")
    return row
