"""A Kaldi data folder, which ESPnet and icefall's recipes write too.

    wav.scp      <recording> <path>            or  <recording> <command> |   (only with --allow-pipes)
    text         <utterance> <transcript>
    segments     <utterance> <recording> <start s> <end s>     optional
    utt2spk      <utterance> <speaker>                         optional
    utt2lang     <utterance> <language>                        optional

Relative paths count from --audio-root, else from the current folder as in Kaldi, else from the data folder. A
command is run for each utterance that needs it, and its output is read as an audio file. Left out: .ark archives.

    arl data --kaldi data/train_clean -o data
"""

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from arl.data.corpora.utterance import DEFAULTS, Audio, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError

LISTS = ("wav.scp", "text", "segments", "utt2spk", "utt2lang")


def corpus(folder: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when wav.scp or text is missing or has a line that cannot be read."""
    tables = {name: _read_table(folder / name, name in ("wav.scp", "text")) for name in LISTS}
    roots = [options.audio_root] if options.audio_root else [Path(), folder]
    recordings = {name: _locate(where, roots) for name, where in tables["wav.scp"].items()}
    files = [folder / name for name in LISTS if (folder / name).is_file()]
    files += [path for path in recordings.values() if isinstance(path, Path)]
    return Corpus(str(folder), lambda scratch: _entries(folder, tables, recordings, options.allow_pipes), files=files)


def _entries(
    folder: Path, tables: dict[str, dict[str, str]], recordings: dict[str, Path | str], allow_pipes: bool
) -> Iterator[Entry]:
    segments = tables["segments"] or {name: name for name in tables["wav.scp"]}
    for key in sorted(tables["text"].keys() - segments.keys()):
        yield Bad(f"{folder}: utterance {key}", "in text, but has no recording")
    for key, line in segments.items():
        recording, *times = line.split()
        where = f"{folder}: utterance {key}"
        if recording not in recordings:
            yield Bad(where, f"its recording {recording} is not in wav.scp")
        elif key not in tables["text"]:
            yield Bad(where, "not in the file text")
        elif isinstance(source := recordings[recording], str) and not allow_pipes:
            yield Bad(where, f"wav.scp runs a command ({source}); --allow-pipes lets it")
        elif (span := _span(times)) is None:
            yield Bad(where, f"segments: {line!r} is not a recording, a start and an end in seconds")
        else:
            audio: Audio = functools.partial(_run, source) if isinstance(source, str) else source
            yield CorpusUtterance(
                key,
                one_line(tables["text"][key]),
                audio,
                tables["utt2lang"].get(key, ""),
                tables["utt2spk"].get(key, ""),
                *span,
                name=f"{source} |" if audio != source else "",
            )


def _span(times: list[str]) -> tuple[float, float | None] | None:
    """(start, end) in seconds; None when the fields are not that. An end of -1 is the recording's end, as in Kaldi."""
    if not times:
        return 0.0, None
    try:
        start, end = map(float, times)
    except ValueError:
        return None
    return (start, None if end == -1 else end) if start >= 0 and (end > start or end == -1) else None


def _locate(where: str, roots: list[Path]) -> Path | str:
    """A command (str, without its "|"), or the path: below the first root that has it."""
    if where.endswith("|"):
        return where[:-1].strip()
    places = [root / where for root in roots]
    return next((place for place in places if place.is_file()), places[0])


def _run(command: str) -> bytes:
    """The output of a wav.scp command. Raises ArlError when it fails."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ArlError(f"the command ended with code {done.returncode}: {lines[-1] if lines else 'no message'}")
    return done.stdout


def _read_table(path: Path, required: bool) -> dict[str, str]:
    """First field -> the rest of the line."""
    if not path.is_file():
        if required:
            raise ArlError(f"{path}: missing; a Kaldi data folder has wav.scp and text")
        return {}
    table: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ArlError(f"{path}: not UTF-8 text") from error
    for number, line in enumerate(lines, 1):
        key, *rest = line.split(maxsplit=1) if line.strip() else [""]
        if not key:
            continue
        if key in table:
            raise ArlError(f"{path}:{number}: {key} comes twice; `utils/fix_data_dir.sh` repairs it")
        table[key] = rest[0].strip() if rest else ""
    return table
