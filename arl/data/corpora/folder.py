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
from arl.text.lines import NOT_UTF8, read_each_line, read_lines

AUDIO_SUFFIXES = frozenset(
    (".aac", ".aif", ".aiff", ".amr", ".au", ".flac", ".g722", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".sph", ".w64")
    + (".wav", ".webm", ".wma")
)
TEXT_SUFFIXES = (".txt", ".lab")
LISTS = "*.trans.txt"
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.tsv")


def corpus(folder: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when there is no such folder, or no recording in it."""
    if not folder.is_dir():
        raise ArlError(f"{folder}: no such folder")
    files = sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and not path.is_dir())
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if not recordings:
        raise ArlError(f"{folder}: no recordings in it ({', '.join(sorted(AUDIO_SUFFIXES))})")
    texts = [path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
    return Corpus(str(folder), lambda scratch: _entries(folder, recordings), files=[*recordings, *texts])


def _entries(folder: Path, recordings: list[Path]) -> Iterator[Entry]:
    lists: dict[Path, dict[str, str | Bad]] = {}
    for path in recordings:
        if path.parent not in lists:
            lists[path.parent], bad = _read_lists(path.parent)
            yield from bad
        text = lists[path.parent].get(path.stem)
        if not path.is_file():
            yield Bad(str(path), "a link that leads nowhere" if path.is_symlink() else "no file")
        elif isinstance(text, str):
            yield CorpusUtterance(path.stem, text, path, speaker=path.stem.split("-")[0])
        else:
            yield text or _with_own_text(folder, path)


def _with_own_text(folder: Path, path: Path) -> Entry:
    """A recording whose transcript is a file beside it."""
    file = next((path.with_suffix(s) for s in TEXT_SUFFIXES if path.with_suffix(s).is_file()), None)
    if file is None:
        hint = f"; {table} is there: --manifest" if (table := _table(path.parent)) else ""
        return Bad(str(path), f"no transcript: neither {path.stem}.txt nor .lab nor a line in {LISTS}{hint}")
    try:
        text = one_line(" ".join(read_lines(file)))
    except ArlError as error:
        return Bad(str(path), str(error))
    return CorpusUtterance(path.relative_to(folder).with_suffix("").as_posix(), text, path)


def _table(folder: Path) -> str:
    """The name of the list that a Hugging Face AudioFolder has, '' for none."""
    return next((name for name in TABLES if (folder / name).is_file()), "")


def _read_lists(folder: Path) -> tuple[dict[str, str | Bad], list[Bad]]:
    """Key -> text from the folder's LibriSpeech lists, or why it has none; and the lines that cannot be read."""
    texts: dict[str, str | Bad] = {}
    bad = []
    for file in sorted(folder.glob(LISTS)):
        for number, line in enumerate(read_each_line(file), 1):
            key, *rest = line.split(maxsplit=1) if line and line.strip() else [""]
            text = one_line(rest[0]) if rest else ""
            if line is None:
                bad.append(Bad(f"{file}:{number}", NOT_UTF8))
            elif key and texts.setdefault(key, text) != text:
                texts[key] = Bad(f"{file}:{number}", f"a second transcript of {key}, not the same")
    return texts, bad
