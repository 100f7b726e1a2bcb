"""A list of recordings in one file: TSV or CSV with a header line, or one JSON object a line.

Knows the column names of Common Voice (path, sentence, client_id, locale), NeMo (audio_filepath, text, offset,
duration), Hugging Face (audio or file_name, text/transcription), and ESPnet-like lists (utt_id, wav, text, spk).
Relative paths count from --audio-root, else from the manifest's folder, else from `clips/` in it, as Common Voice has
them. A recording that is shorter than its `duration` is a bad sample. `keywords` is a JSON list, or words separated by
";" in a table.

    arl data --manifest cv-corpus/en/test.tsv -o data
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from arl.data.corpora.fields import Row, json_object, keywords, label, locate, seconds, text
from arl.data.corpora.tables import read_rows
from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError
from arl.text.lines import NOT_UTF8, read_each_line

AUDIO = (
    *("audio_filepath", "path", "audio", "wav", "audio_path", "wav_path", "file", "filename", "wav_filename"),
    "file_name",  # AudioFolder
)
START = ("offset", "start")
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


def _entry(where: str, row: Row | str, roots: Sequence[Path]) -> Entry:
    if isinstance(row, str):
        return Bad(where, row)
    try:
        path = text(row, AUDIO)
        if not path:
            return Bad(where, f"no path of a recording: none of the fields {', '.join(AUDIO)}")
        start_s, end_s, stated_s = _times(row)
        return CorpusUtterance(
            label(row, KEY) or Path(path).stem,
            one_line(text(row, TEXT)),
            locate(path, roots),
            text(row, LANG),
            label(row, SPEAKER),
            start_s,
            end_s,
            keywords=keywords(row.get("keywords")),
            stated_s=stated_s,
        )
    except ValueError as error:
        return Bad(where, str(error))


def _times(row: Row) -> tuple[float, float | None, float | None]:
    """Start and end of the segment, and how long the whole recording is said to be; seconds, None: not said.

    NeMo's segment is an offset and a duration. Raises ValueError for times that are none, or of no length.
    """
    start_s, end_s, duration_s = seconds(row, START), seconds(row, ("end",)), seconds(row, ("duration",))
    if end_s is None and start_s is not None:
        if duration_s is None and start_s > 0 and "offset" in row:
            raise ValueError("an offset without a duration")
        end_s = None if duration_s is None else start_s + duration_s
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ValueError(f"a segment from {start_s or 0.0:g} to {end_s:g} seconds has no length")
    whole = end_s is None and not start_s
    return start_s or 0.0, end_s, duration_s if whole else None


def _rows(manifest: Path) -> Iterator[tuple[str, Row | str]]:
    """(place, row, or what is wrong with it) for each line."""
    delimiter = TABLES.get(manifest.suffix.lower())
    if delimiter is None:
        yield from _json_lines(manifest)
        return
    columns, rows = read_rows(manifest, delimiter)
    for names, what in ((AUDIO, "recordings"), (TEXT, "transcripts")):
        if not set(names) & set(columns):
            raise ArlError(f"{manifest}: no column for the {what}: none of {', '.join(names)}")
    yield from rows


def _json_lines(manifest: Path) -> Iterator[tuple[str, Row | str]]:
    for number, line in enumerate(read_each_line(manifest), 1):
        place = f"{manifest}:{number}"
        if line is None:
            yield place, NOT_UTF8
        elif line.strip():
            try:
                yield place, json_object(line)
            except ValueError as error:
                yield place, str(error)
