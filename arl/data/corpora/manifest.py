"""A list of recordings in one file: TSV or CSV with a header line, or one JSON object a line.

Knows the column names of Common Voice (path, sentence, client_id, locale), NeMo (audio_filepath, text, offset,
duration), Hugging Face (audio, text/transcription), and ESPnet-like lists (utt_id, wav, text, spk). Relative paths
count from --audio-root, else from the manifest's folder, else from `clips/` in it, as Common Voice has them.
`keywords` is a JSON list, or words separated by ";" in a table.

    arl data --manifest cv-corpus/en/test.tsv -o data
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError

AUDIO = ("audio_filepath", "path", "audio", "wav", "audio_path", "wav_path", "file", "filename", "wav_filename")
TEXT = ("text", "sentence", "transcript", "transcription", "txt")
KEY = ("key", "utt_id", "utt", "id", "uttid")
SPEAKER = ("speaker", "client_id", "speaker_id", "spk", "spk_id")
LANG = ("lang", "locale", "language")
TABLES = {".tsv": "\t", ".csv": ","}


def corpus(manifest: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when the file is missing, is not UTF-8, or has no audio or no text column."""
    if not manifest.is_file():
        raise ArlError(f"{manifest}: no such manifest")
    roots = [options.audio_root] if options.audio_root else [manifest.parent, manifest.parent / "clips"]
    entries = [_entry(where, row, roots) for where, row in _rows(manifest)]
    if not entries:
        raise ArlError(f"{manifest}: no lines in it")
    recordings = [
        entry.audio for entry in entries if isinstance(entry, CorpusUtterance) and isinstance(entry.audio, Path)
    ]
    return Corpus(str(manifest), lambda scratch: entries, files=[manifest, *dict.fromkeys(recordings)])


def pick(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of the named fields that the row has and that is not empty; '' when there is none."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), "")


def keywords(value: Any) -> tuple[str, ...]:
    """A list of keywords from a JSON list, or from "one; two"."""
    words = value if isinstance(value, list) else str(value or "").split(";")
    return tuple(text for word in words if (text := one_line(str(word))))


def _entry(where: str, row: dict[str, Any] | str, roots: list[Path]) -> Entry:
    if isinstance(row, str):
        return Bad(where, row)
    path, text = pick(row, AUDIO), pick(row, TEXT)
    if not isinstance(path, str) or not path:
        return Bad(where, f"no path of a recording: none of the fields {', '.join(AUDIO)}")
    try:
        start = float(pick(row, ("offset", "start")) or 0)
        end = pick(row, ("end",))
        if end == "" and row.get("offset") not in (None, ""):  # NeMo: a segment is an offset and a duration
            end = start + float(row["duration"])
    except (ValueError, KeyError):
        return Bad(where, "offset and duration (or start and end) are not numbers of seconds")
    places = [root / path for root in roots]
    audio = next((place for place in places if place.is_file()), places[0])
    key = str(pick(row, KEY)) or Path(path).stem
    return CorpusUtterance(
        key,
        one_line(str(text)),
        audio,
        str(pick(row, LANG)),
        str(pick(row, SPEAKER)),
        start,
        None if end == "" else float(end),
        keywords=keywords(row.get("keywords")),
    )


def _rows(manifest: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """(place, row, or what is wrong with it) for each line."""
    try:
        if delimiter := TABLES.get(manifest.suffix.lower()):
            yield from _table(manifest, delimiter)
        else:
            yield from _json_lines(manifest)
    except UnicodeDecodeError as error:
        raise ArlError(f"{manifest}: not UTF-8 text") from error


def _table(manifest: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    csv.field_size_limit(sys.maxsize)
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        # quotation marks in a TSV are part of the sentence
        reader = csv.DictReader(
            file, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        )
        columns = reader.fieldnames or []
        for names, what in ((AUDIO, "recordings"), (TEXT, "transcripts")):
            if not set(names) & set(columns):
                raise ArlError(f"{manifest}: no column for the {what}: none of {', '.join(names)}")
        for row in reader:
            wrong = None in row or None in row.values()
            yield (
                f"{manifest}:{reader.line_num}",
                f"not {len(columns)} fields as in the header" if wrong else dict(row),
            )


def _json_lines(manifest: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with manifest.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                yield f"{manifest}:{number}", row if isinstance(row, dict) else "not a JSON object"
