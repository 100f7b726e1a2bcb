"""The data stage: one source of utterances → audio shards, and on stderr what was made and left out.

    make_shards({"texts": Path("prompts.txt")}, Path("texts"), Selection(batch=32))

A source is the module of its flag's name in this package, whose `corpus(value, options)` lists it; `--shards` is
`foreign`. Left out: the writing (build.py).
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.data.corpora import concatenate as joining
from arl.data.corpora import split as splitting
from arl.data.corpora.build import CorpusOptions, build
from arl.data.corpora.prepare import DurationLimits
from arl.data.corpora.utterance import Corpus, SourceOptions
from arl.errors import UsageError
from arl.runtime.console import note
from arl.shards.durable import refuse_same_place

MODULES = {"shards": "foreign"}  # the other sources have the name of their flag
READ_IN_PLACE = "folder", "kaldi", "shards"  # folders, which are no place for the output
WITH_AUDIO_ROOT, WITH_PIPES = ("kaldi", "manifest"), ("kaldi",)


@dataclass(frozen=True)
class Selection:
    """The flags that say which utterances and how many a shard. min_s, max_s: of a clip, in seconds. split: shares, as
    in "test=0.4,train=0.6", by: of texts, or of speakers, which may be named. concatenate: "LOW-HIGH" seconds. against:
    shards whose texts to leave out. speed: "0.9,1,1.1"."""

    lang: str = "en"
    batch: int = 32
    shuffle: bool = False
    seed: int = 1
    min_s: float | None = None
    max_s: float | None = None
    split: str = ""
    against: Sequence[str] = ()
    concatenate: str = ""
    by: str = "text"
    speed: str = ""

    def options(self) -> CorpusOptions:
        """UsageError for a word or number that cannot be."""
        if self.min_s is not None and self.max_s is not None and self.min_s > self.max_s:
            raise UsageError(f"--min-s {self.min_s} is above --max-s {self.max_s}")
        by_speaker = self.split if self.by == "speaker" else ""
        if self.by == "speaker":
            splitting.names({}, self._required_split())
        return CorpusOptions(
            self.lang, self.batch, self.shuffle, self.seed, DurationLimits(self.min_s, self.max_s),
            splitting.parse(self.split) if self.split and not by_speaker else {}, self.against,
            joining.parse(self.concatenate) if self.concatenate else None, by_speaker, _speeds(self.speed),
        )  # fmt: skip

    def _required_split(self) -> str:
        if not self.split:
            raise UsageError("--by speaker is how to --split: --by speaker --split test=0.1,train=rest")
        return self.split


def _speeds(spec: str) -> tuple[float, ...]:
    """'0.9,1,1.1' → speeds. UsageError."""
    try:
        speeds = tuple(float(part) for part in spec.split(",")) if spec else ()
    except ValueError:
        speeds = (0.0,)
    if not all(0.5 <= speed <= 2 for speed in speeds) or len(set(speeds)) < len(speeds):
        raise UsageError(f"--speed {spec}: write speeds between 0.5 and 2, each once: 0.9,1,1.1")
    return speeds


def make_shards(
    sources: Mapping[str, Any], out: Path, selection: Selection, source: SourceOptions | None = None, jobs: int = 0,
    max_failed: int = 0, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`out`/data.json with "out" and "up_to_date". sources: flag to value; exactly one is given. jobs: 0 is all cores.

    UsageError for flags that do not go together; ArlError as `build` and the source.
    """
    source = source or SourceOptions()
    name = _only(sources)
    _refuse_stray(name, source, selection)
    options = selection.options()
    if name in READ_IN_PLACE:
        refuse_same_place(out, [sources[name]] if isinstance(sources[name], Path) else sources[name])
    corpus = _corpus(name, sources[name], source)
    record = build(corpus, out, options, jobs or len(os.sched_getaffinity(0)), max_failed, force)
    _tell(out, record, bool(selection.concatenate))
    return {"out": str(out), **record}


def _only(sources: Mapping[str, Any]) -> str:
    chosen = [name for name, value in sources.items() if value]
    if len(chosen) != 1:
        known, given = (", ".join(f"--{name.replace('_', '-')}" for name in names) for names in (sources, chosen))
        raise UsageError(f"arl data takes one of {known}; given: {given or 'none'}")
    return chosen[0]


def _refuse_stray(name: str, source: SourceOptions, selection: Selection) -> None:
    if source.audio_root and name not in WITH_AUDIO_ROOT:
        raise UsageError(f"--audio-root goes with --kaldi or --manifest, not with --{name}")
    if source.allow_pipes and name not in WITH_PIPES:
        raise UsageError(f"--allow-pipes goes with --kaldi, not with --{name}")
    if name == "texts" and (selection.min_s is not None or selection.max_s is not None or selection.concatenate):
        raise UsageError("--min-s, --max-s and --concatenate are of recordings; --texts has none")


def _corpus(name: str, value: Any, source: SourceOptions) -> Corpus:
    module = importlib.import_module(f"{__package__}.{MODULES.get(name, name)}")
    found: Corpus = module.corpus(value, source)
    return found


def _tell(out: Path, record: Mapping[str, Any], has_joined: bool) -> None:
    for name, counts in record["splits"].items():
        minutes = counts["seconds"] / 60
        note(f"data: {out}: {name}: {counts['utterances']} utterances, {counts['texts']} texts, {minutes:.1f} min, "
             f"{counts['shards']} shard(s)")  # fmt: skip
    outside = "too short or long" + (", or without neighbours" if has_joined else "")
    left_out = {"bad": record["failed"], outside: record["outside"], "in --against": record["excluded"],
                "of no split's speakers, or with a text of an earlier split": record.get("unsplit", 0)}  # fmt: skip
    if any(left_out.values()):
        note(f"data: {out}: left out: " + ", ".join(f"{count} {why}" for why, count in left_out.items() if count))
    if record["up_to_date"]:
        note(f"data: {out}: up to date (-f redoes it)")
