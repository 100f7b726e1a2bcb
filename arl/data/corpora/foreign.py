"""Another tool's WebDataset: tars whose samples have audio and a transcript.

The transcript is the `.txt` member, or a field of the `.json` member under one of the names that manifests use.
Audio is copied to a scratch folder first, so that splitting and shuffling can take the samples in any order.

    arl data --shards 'commonvoice-{0000..0009}.tar' -o data
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arl.data.corpora.folder import AUDIO_SUFFIXES
from arl.data.corpora.manifest import LANG, SPEAKER, TEXT, keywords, pick
from arl.data.corpora.utterance import DEFAULTS, Bad, Corpus, CorpusUtterance, Entry, Part, SourceOptions, one_line
from arl.shards.foreign import read_foreign  # imports webdataset, which takes seconds
from arl.shards.paths import expand


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
            where = f"{path}: sample {sample.key}"
            extension = next((name for name in sample.members if f".{name.rpartition('.')[2]}" in AUDIO_SUFFIXES), None)
            fields = _fields(sample.members)
            if extension is None:
                yield Bad(where, f"no audio in it, only {', '.join(sample.members)}")
            elif isinstance(fields, str):
                yield Bad(where, fields)
            else:
                audio = scratch / f"{number:09d}.{extension.rpartition('.')[2]}"
                audio.write_bytes(sample.members[extension])
                yield CorpusUtterance(
                    sample.key,
                    one_line(str(pick(fields, TEXT))),
                    audio,
                    str(pick(fields, LANG)),
                    str(pick(fields, SPEAKER)),
                    name=where,
                    keywords=keywords(fields.get("keywords")),
                    parts=_parts(fields),
                )


def _parts(fields: dict[str, Any]) -> tuple[Part, ...]:
    """What a sample of ours says it was joined from; () for one that says nothing, or something else."""
    keys, texts = fields.get("concatenated"), fields.get("texts")
    if not isinstance(keys, list) or not isinstance(texts, list) or len(keys) != len(texts):
        return ()
    return tuple(Part(str(key), str(text)) for key, text in zip(keys, texts, strict=True))


def _fields(members: dict[str, bytes]) -> dict[str, Any] | str:
    """The sample's fields from `.json` and `.txt`, or what is wrong with them."""
    try:
        fields = json.loads(members.get("json", b"{}"))
        text = members["txt"].decode("utf-8-sig") if "txt" in members else ""
    except ValueError:
        return "its .json is not JSON, or its .txt is not UTF-8"
    if not isinstance(fields, dict):
        return "its .json is not an object"
    return {**fields, "text": pick(fields, TEXT) or text}
