"""A Kaldi data folder, which ESPnet and icefall's recipes write too.

    wav.scp      <recording> <path>            or  <recording> <command> |   (only with --allow-pipes)
    text         <utterance> <transcript>
    segments     <utterance> <recording> <start s> <end s> [<channel>]     optional; channel 0, 1, … or A, B
    utt2spk      <utterance> <speaker>                         optional
    utt2lang     <utterance> <language>                        optional

Relative paths count from --audio-root, else from the current folder as in Kaldi, else from the data folder. A
command is run for each utterance that needs it, and its output is read as an audio file. Left out: .ark archives.

    arl data --kaldi data/train_clean -o data
"""

import functools
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from arl.data.corpora.fields import locate, number_of
from arl.data.corpora.utterance import DEFAULTS, Audio, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError
from arl.text.lines import NOT_UTF8, read_each_line

LISTS = ("wav.scp", "text", "segments", "utt2spk", "utt2lang")
CHANNELS = {"A": 0, "B": 1, **{str(number): number for number in range(64)}}
Command = str


def corpus(folder: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when wav.scp or text is missing or has an utterance twice."""
    bad: list[Bad] = []
    tables = {name: _read_table(folder / name, name in ("wav.scp", "text"), bad) for name in LISTS}
    roots = [options.audio_root] if options.audio_root else [Path(), folder]
    recordings = {name: _locate(where, roots) for name, where in tables["wav.scp"].items()}
    files = [folder / name for name in LISTS if (folder / name).is_file()]
    files += [path for path in recordings.values() if isinstance(path, Path)]
    return Corpus(
        str(folder), lambda scratch: chain(bad, _entries(folder, tables, recordings, options.allow_pipes)), files=files
    )


def _entries(
    folder: Path, tables: dict[str, dict[str, str]], recordings: dict[str, Path | Command | ValueError], pipes: bool
) -> Iterator[Entry]:
    segments = tables["segments"] or {name: name for name in tables["wav.scp"]}
    for key in sorted(tables["text"].keys() - segments.keys()):
        yield Bad(f"{folder}: utterance {key}", "in text, but has no recording")
    for key, line in segments.items():
        recording, *times = line.split() or [""]
        where = f"{folder}: utterance {key}"
        source = recordings.get(recording)
        if source is None:
            yield Bad(where, f"its recording {recording} is not in wav.scp")
        elif key not in tables["text"]:
            yield Bad(where, "not in the file text")
        elif isinstance(source, ValueError):
            yield Bad(where, f"wav.scp: {source}")
        elif isinstance(source, str) and not pipes:
            yield Bad(where, f"wav.scp runs a command ({source}); --allow-pipes lets it")
        elif (span := _span(times)) is None:
            yield Bad(
                where, f"segments: {line!r} is not a recording, a start and an end in seconds, and a channel if any"
            )
        else:
            audio: Audio = functools.partial(_run, source) if isinstance(source, str) else source
            start_s, end_s, channel = span
            yield CorpusUtterance(
                key,
                one_line(tables["text"][key]),
                audio,
                tables["utt2lang"].get(key, ""),
                tables["utt2spk"].get(key, ""),
                start_s,
                end_s,
                name=f"{source} |" if audio != source else "",
                channel=channel,
            )


def _span(times: list[str]) -> tuple[float, float | None, int | None] | None:
    """(start, end) in seconds and the channel; None when the fields are not that. An end of -1 is the recording's end,
    as in Kaldi."""
    if not times:
        return 0.0, None, None
    start, end = (number_of(time) for time in [*times[:2], ""][:2])
    channel = CHANNELS.get(times[2]) if len(times) == 3 else None
    if start is None or end is None or len(times) > 3 or (len(times) == 3 and channel is None):
        return None
    return (start, None if end == -1 else end, channel) if start >= 0 and (end > start or end == -1) else None


def _locate(where: str, roots: list[Path]) -> Path | Command | ValueError:
    """A command (without its "|"), the path below the first root that has it, or what is wrong with it."""
    if where.endswith("|"):
        return where[:-1].strip()
    try:
        return locate(where, roots)
    except ValueError as error:
        return error


def _run(command: str) -> bytes:
    """The output of a wav.scp command. Raises ArlError when it fails."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().split("\n")
        raise ArlError(f"the command ended with code {done.returncode}: {lines[-1] or 'no message'}")
    return done.stdout


def _read_table(path: Path, required: bool, bad: list[Bad]) -> dict[str, str]:
    """First field -> the rest of the line. A line that is not UTF-8 goes to `bad`."""
    if not path.is_file():
        if required:
            raise ArlError(f"{path}: missing; a Kaldi data folder has wav.scp and text")
        return {}
    table: dict[str, str] = {}
    for number, line in enumerate(read_each_line(path), 1):
        if line is None:
            bad.append(Bad(f"{path}:{number}", NOT_UTF8))
            continue
        key, *rest = line.split(maxsplit=1) if line.strip() else [""]
        if not key:
            continue
        if key in table:
            raise ArlError(f"{path}:{number}: {key} comes twice; `utils/fix_data_dir.sh` repairs it")
        table[key] = rest[0].strip() if rest else ""
    return table
