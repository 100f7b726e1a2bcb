"""Texts to speak, without recordings: a line each, or `KEY<tab>TEXT`.

    arl data --texts prompts.txt -o texts

Empty lines are passed over. A text without a key is named by its file and line.
"""

from collections.abc import Iterator
from pathlib import Path

from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, SourceOptions, one_line
from arl.errors import ArlError
from arl.text.lines import NOT_UTF8, read_each_line


def corpus(file: Path, options: SourceOptions = DEFAULTS) -> Corpus:
    """Raises ArlError when there is no such file, or no text in it."""
    lines = read_each_line(file)
    if not any(line is None or line.strip() for line in lines):
        raise ArlError(f"{file}: no text in it")
    return Corpus(str(file), lambda scratch: _entries(file, lines), files=[file])


def _entries(file: Path, lines: list[str | None]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        if line is None:
            yield Bad(f"{file}:{number}", NOT_UTF8)
            continue
        key, tab, text = line.partition("\t")
        if not tab:
            key, text = f"{file.stem}-{number:06d}", line
        if tab and not (key.strip() and text.strip()):
            yield Bad(f"{file}:{number}", "a key, a tab and a text are expected, or a text alone")
        elif text.strip():
            yield CorpusUtterance(key, one_line(text), None)
