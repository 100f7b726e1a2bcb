"""A folder of recordings with their transcripts beside them.

    clips/a/001.wav + clips/a/001.txt                        one text file (or .lab) a recording
    LibriSpeech/84/121123/84-121123-0000.flac + 84-121123.trans.txt     lines "84-121123-0000 GO DO YOU HEAR"

All folders below are searched. Where a folder has `*.trans.txt`, its lines are the transcripts and the key's part
before the first "-" is the speaker, as in LibriSpeech. A recording without a transcript is a bad sample.

    arl data --folder clips -o data
"""

from collections.abc import Iterator
from pathlib import Path

from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError

AUDIO_SUFFIXES = frozenset(
    (".aac", ".aif", ".aiff", ".amr", ".au", ".flac", ".g722", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".sph", ".w64")
    + (".wav", ".webm", ".wma")
)
TEXT_SUFFIXES = (".txt", ".lab")
LISTS = "*.trans.txt"


def corpus(folder: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when there is no such folder, or no recording in it."""
    if not folder.is_dir():
        raise ArlError(f"{folder}: no such folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if not recordings:
        raise ArlError(f"{folder}: no recordings in it ({', '.join(sorted(AUDIO_SUFFIXES))})")
    texts = [path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
    return Corpus(str(folder), lambda scratch: _entries(folder, recordings), files=[*recordings, *texts])


def _entries(folder: Path, recordings: list[Path]) -> Iterator[Entry]:
    lists: dict[Path, dict[str, str]] = {}
    for path in recordings:
        if path.parent not in lists:
            lists[path.parent] = _read_lists(path.parent)
        listed = lists[path.parent]
        if path.stem in listed:
            yield CorpusUtterance(path.stem, listed[path.stem], path, speaker=path.stem.split("-")[0])
            continue
        file = next((path.with_suffix(s) for s in TEXT_SUFFIXES if path.with_suffix(s).is_file()), None)
        if file is None:
            yield Bad(str(path), f"no transcript: neither {path.stem}.txt nor .lab nor a line in {LISTS}")
            continue
        try:
            text = one_line(file.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            yield Bad(str(file), "not UTF-8 text")
            continue
        yield CorpusUtterance(path.relative_to(folder).with_suffix("").as_posix(), text, path)


def _read_lists(folder: Path) -> dict[str, str]:
    """Key -> text from the folder's LibriSpeech lists."""
    texts: dict[str, str] = {}
    for file in sorted(folder.glob(LISTS)):
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ArlError(f"{file}: not UTF-8 text") from error
        texts.update((key, one_line(text)) for key, _, text in (line.strip().partition(" ") for line in lines) if key)
    return texts
