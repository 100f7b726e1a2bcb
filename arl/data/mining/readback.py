"""What was written, read back: figures, the proof that no set shares anything with the test set, the manifest.

written = {"D1": ReadBack.of(out / "D1", rows)}
check(written, Held.read(["data/test"]), overlap=False)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.data.corpora.split import check_disjoint, same_text
from arl.data.mining.held_out import Held
from arl.data.mining.output import SetRow
from arl.errors import ArlError
from arl.shards.columns import dumps
from arl.shards.reader import read_shard
from arl.shards.rows import Meta
from arl.text.normalise import normalise
from arl.text.wer import units

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class ReadBack:
    """One set. metas: each sample's `.json` by key, in order; shards: the name of its shard."""

    rows: Sequence[SetRow]
    held: Held
    metas: Mapping[str, Meta]
    shards: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path, rows: Sequence[SetRow]) -> "ReadBack":
        """Every byte is checked. Raises ArlError when the samples are not those of `rows`."""
        held, metas, shards = Held(), {}, {}
        for path in sorted(folder.glob("*.tar")):
            for sample in read_shard(path):
                held.add(sample)
                metas[sample.key] = Meta.of(sample)
                shards[sample.key] = path.name
        if list(metas) != [row.key for row in rows]:
            raise ArlError(f"{folder.name}: other samples read back than chosen: nothing written; report this as a bug")
        return cls(rows, held, metas, shards)

    def figures(self) -> dict[str, Any]:
        """For the summary. words: characters where `counts_characters`; concatenated: samples joined from others."""
        texts = [(meta.text, meta.lang) for meta in self.metas.values()]
        return {
            "utterances": len(self.metas),
            "texts": len({same_text(*text) for text in texts}),
            "words": sum(len(units(normalise(text, lang), lang)) for text, lang in texts),
            "hours": round(sum(meta.duration_s or 0.0 for meta in self.metas.values()) / 3600, 6),
            "concatenated": sum(bool(meta.concatenated) for meta in self.metas.values()),
            "with_keywords": sum(bool(meta.keywords) for meta in self.metas.values()),
            "shards": len(set(self.shards.values())),
        }


def check(written: Mapping[str, ReadBack], test: Held, overlap: bool) -> None:
    """Raises ArlError when a set shares a text, clip or source clip with the test set, or two sets an utterance."""
    for name, each in written.items():
        test.require_apart(name, each.held)
    sets = {} if overlap else {name: each.held for name, each in written.items() if "+" not in name}
    check_disjoint({name: held.clips for name, held in sets.items()}, "clips")
    check_disjoint({name: held.keys for name, held in sets.items()}, "keys")


def write_manifest(
    written: Mapping[str, ReadBack], reasons: Mapping[str, Mapping[str, Mapping[str, Any]]], folder: Path, out: Path
) -> None:
    """`manifest.jsonl`: one line an utterance, by key: where it is in which sets, and why it qualifies for which.

    reasons: set to key to reason, also of utterances that went to another set. out: the folder that `folder`'s files
    will be in, which the sources are relative to.
    """
    lines: dict[str, dict[str, Any]] = {}
    for name, each in written.items():
        for row in each.rows:
            meta = each.metas[row.key].to_json()
            shown: dict[str, Any] = {
                field: meta[field] for field in ("text", "lang", "duration_s", "concatenated") if field in meta
            }
            shown |= {"source": os.path.relpath(row.source, out)} if row.source else {}
            line = lines.setdefault(row.key, {"key": row.key, "sets": {}, "reasons": {}, **shown})
            line["sets"][name] = f"{name}/{each.shards[row.key]}"
            if name in reasons:  # a union has none of its own
                line["reasons"][name] = row.reason
    for name, known in reasons.items():
        for key in known.keys() & lines.keys():
            lines[key]["reasons"].setdefault(name, known[key])
    text = "".join(dumps(lines[key]).decode() + "\n" for key in sorted(lines))
    (folder / MANIFEST).write_text(text, encoding="utf-8")
