"""Another tool's WebDataset: tars whose samples have audio and a transcript.

The transcript is the `.txt` member, or a field of the `.json` member under one of the names that manifests use. A
sample has one recording: of two, nobody knows whose the transcript is.
Audio is copied to a scratch folder first, so that splitting and shuffling can take the samples in any order.

    arl data --shards 'commonvoice-{0000..0009}.tar' -o data
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arl.data.corpora.fields import json_object, keywords, label, pick, text
from arl.data.corpora.folder import AUDIO_SUFFIXES
from arl.data.corpora.manifest import LANG, SPEAKER, TEXT
from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, Part, SourceOptions, one_line
from arl.shards.foreign import read_foreign  # imports webdataset, which takes seconds
from arl.shards.paths import expand
from arl.shards.reader import Sample


def corpus(specs: list[str], options: SourceOptions = DEFAULTS) -> Corpus:
    """specs: the path grammar of `arl.shards.paths`. Raises ArlError when a tar is missing."""
    paths = expand(specs)
    files = [path for path in paths if str(path) != "-"]
    return Corpus(", ".join(specs), lambda scratch: _entries(paths, scratch), files=files)


def _entries(paths: list[Path], scratch: Path) -> Iterator[Entry]:
    number = 0
    for path in paths:
        for sample in read_foreign(path):
            number += 1
            yield _entry(sample, f"{path}: sample {sample.key}", scratch / f"{number:09d}")


def _entry(sample: Sample, where: str, scratch: Path) -> Entry:
    """The sample's utterance, its audio in a file `scratch`; or what is wrong with it."""
    audios = [name for name in sample.members if f".{name.rpartition('.')[2]}" in AUDIO_SUFFIXES]
    if len(audios) != 1:
        return Bad(where, _not_one(audios, sample))
    try:
        fields = _fields(sample.members)
        utterance = CorpusUtterance(
            sample.key,
            one_line(text(fields, TEXT)),
            scratch.with_suffix(f".{audios[0].rpartition('.')[2]}"),
            text(fields, LANG),
            label(fields, SPEAKER),
            name=where,
            keywords=keywords(fields.get("keywords")),
            parts=_parts(fields),
        )
    except ValueError as error:
        return Bad(where, str(error))
    scratch.with_suffix(f".{audios[0].rpartition('.')[2]}").write_bytes(sample.members[audios[0]])
    return utterance


def _not_one(audios: list[str], sample: Sample) -> str:
    if not audios:
        return f"no audio in it, only {', '.join(sample.members)}"
    dotted = "; a sample's name ends at its first dot, so names with dots fall together: rename them"
    return f"{len(audios)} recordings in it, {', '.join(audios)}" + dotted * any("." in name for name in audios)


def _parts(fields: dict[str, Any]) -> tuple[Part, ...]:
    """What a sample of ours says it was joined from; () for one that says nothing, or something else."""
    keys, texts = fields.get("concatenated"), fields.get("texts")
    if not isinstance(keys, list) or not isinstance(texts, list) or len(keys) != len(texts):
        return ()
    return tuple(Part(str(key), str(text)) for key, text in zip(keys, texts, strict=True))


def _fields(members: dict[str, bytes]) -> dict[str, Any]:
    """The sample's fields from `.json` and `.txt`. Raises ValueError for what is wrong with them."""
    try:
        written = members["txt"].decode("utf-8-sig") if "txt" in members else ""
    except UnicodeDecodeError as error:
        raise ValueError("its .txt is not UTF-8") from error
    try:
        fields = json_object(members.get("json", b"{}"))
    except ValueError as error:
        raise ValueError("its .json is not JSON, or not an object") from error
    return {**fields, "text": pick(fields, TEXT) or written}
