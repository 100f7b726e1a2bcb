"""From a corpus to shards in an output folder: the work behind `arl data`.

List the utterances, leave out what an existing test set holds, split, convert, write, read back and check, publish.
Fails with nothing changed in the output folder when more samples are bad than allowed, when a split would be empty,
or when what was read back is not what was meant.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from arl.data.corpora import publish, split
from arl.data.corpora.concatenate import concatenate, duration_s
from arl.data.corpora.language import problem_of, require_known
from arl.data.corpora.prepare import DurationLimits, Prepared, at_speeds, prepare_all
from arl.data.corpora.utterance import Bad, Corpus, CorpusUtterance, one_line, safe_key, unique
from arl.errors import ArlError
from arl.runtime.console import progress, warn
from arl.runtime.stage import OpenShard, StageRun
from arl.shards.fingerprint import fingerprint_of
from arl.shards.paths import expand
from arl.shards.writer import ShardWriter

VERSION = 1  # of what this module writes: a change makes `arl data` redo its outputs
WHOLE = "all"  # how the only part is called when there is no split
FIGURES = ("utterances", "texts", "seconds", "shards")


@dataclass(frozen=True)
class CorpusOptions:
    """What shapes the output. batch: utterances a shard. against: shards whose texts must not come up again.
    concatenate: join neighbours into clips of so many seconds; `limits` are then those of what is joined. by_speaker:
    how to split so that no speaker is in two (`split.deal_speakers`). speeds: say everything at each of these."""

    lang: str = "en"
    batch: int = 32
    shuffle: bool = False
    seed: int = 1
    limits: DurationLimits = field(default_factory=DurationLimits)
    split: Mapping[str, float] = field(default_factory=dict)
    against: Sequence[str] = ()
    concatenate: tuple[float, float] | None = None
    by_speaker: str = ""
    speeds: Sequence[float] = ()


@dataclass
class Counts:
    """good: to be written. failed: bad samples. outside: too short or too long. excluded: text is in --against.
    unsplit: the speaker is in no split or not known, or an earlier split has the text."""

    allowed: int
    good: int = 0
    failed: int = 0
    outside: int = 0
    excluded: int = 0
    unsplit: int = 0

    def fail(self, bad: Bad) -> None:
        warn(f"bad sample: {one_line(bad.where)}: {one_line(bad.reason)}")
        self.failed += 1

    def require_few(self) -> None:
        if self.failed > self.allowed:
            raise ArlError(
                f"{self.failed} bad sample(s), {self.allowed} allowed: nothing written; mend them, or give --max-failed"
            )


def build(
    corpus: Corpus, out: Path, options: CorpusOptions, jobs: int = 1, max_failed: int = 0, force: bool = False
) -> dict[str, Any]:
    """Write the corpus to `out` unless it is there already. Returns the record kept in `out`/data.json, with
    `up_to_date` added. Raises ArlError as the module says."""
    require_known(options.lang)
    arguments = {"version": VERSION, "corpus": corpus.name, **asdict(options)}
    fingerprint = corpus_fingerprint(corpus, options)
    folders = {name: name for name in split.names(options.split, options.by_speaker)} or {WHOLE: ""}
    record = None if force else publish.is_current(out, fingerprint)
    if record is not None and record["failed"] <= max_failed:
        return {**record, "up_to_date": True}
    against = expand(list(options.against)) if options.against else []
    publish.require_ours(out, list(folders.values()), inputs=[*corpus.files, *against])
    counts = Counts(max_failed)
    with publish.staging(out) as staged:
        scratch, fresh = staged / "scratch", staged / "out"
        scratch.mkdir()
        fresh.mkdir()
        utterances, banned = _listed(corpus, scratch, options, counts)
        seconds = {}
        parts = _parts(utterances, options, counts)
        limits = DurationLimits() if options.concatenate else options.limits
        with progress("data", sum(map(len, parts.values()))) as bar:
            for name, part in parts.items():
                run = StageRun("data", fresh / folders[name], arguments)
                prepared = _good(prepare_all(part, limits, jobs), counts, bar)
                seconds[name] = _write(prepared, run, fingerprint, options.batch)
        record = {
            "made": fingerprint,
            "arguments": arguments,
            "splits": _checked(fresh, folders, seconds, banned, counts.good, bool(options.by_speaker)),
            "failed": counts.failed,
            "outside": counts.outside,
            "excluded": counts.excluded,
            "unsplit": counts.unsplit,
            "shards": [path.relative_to(fresh).as_posix() for path in sorted(fresh.rglob("*.tar"))],
        }
        _write_notices(fresh, corpus, options, record["splits"])
        publish.publish(fresh, out, list(folders.values()), record)
    return {**record, "up_to_date": False}


def corpus_fingerprint(corpus: Corpus, options: CorpusOptions) -> str:
    """Names the result: the arguments, and the paths, sizes and times of all input files."""
    against = expand(list(options.against)) if options.against else []
    what = [
        VERSION,
        corpus.name,
        corpus.identity,
        asdict(options),
        [_state(path) for path in [*corpus.files, *against]],
    ]
    return publish.DATA.prefix + fingerprint_of(what)


def _state(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # a missing recording is a bad sample, not an error here
        return str(path), -1, 0
    return str(path), status.st_size, status.st_mtime_ns


def _listed(
    corpus: Corpus, scratch: Path, options: CorpusOptions, counts: Counts
) -> tuple[list[CorpusUtterance], set[str]]:
    """The utterances to use, with safe unique keys; and the texts in --against, which they do not have."""
    banned = split.texts_in(options.against) if options.against else set()
    listed: list[CorpusUtterance] = []
    for entry in corpus.entries(scratch):
        if isinstance(entry, Bad):
            counts.fail(entry)
        elif not entry.text:
            counts.fail(Bad(entry.label, "no transcript"))
        elif wrong := problem_of(entry, options.lang):
            counts.fail(Bad(entry.label, wrong))
        else:
            listed.append(entry if entry.lang else replace(entry, lang=options.lang))
    counts.require_few()
    kept = [entry for entry in listed if not banned or split.normalised(entry) not in banned]
    counts.excluded = len(listed) - len(kept)
    named = list(unique(kept))
    _tell_renamed(kept, named)
    return named, banned


def _tell_renamed(listed: list[CorpusUtterance], named: list[CorpusUtterance]) -> None:
    """Different keys that became equal when they were cleaned have numbers now: by key, other tools find neither."""
    firsts: dict[str, str] = {}
    renamed = [
        f"{before.key!r} is {after.key}, for {first!r} is {base}"
        for before, after in zip(listed, named, strict=True)
        if (first := firsts.setdefault(base := safe_key(before.key), before.key)) != before.key
    ]
    if renamed:
        warn(f"{len(renamed)} key(s) became equal to others when cleaned: {renamed[0]}")


def _parts(
    utterances: list[CorpusUtterance], options: CorpusOptions, counts: Counts
) -> dict[str, list[CorpusUtterance]]:
    parts = {WHOLE: utterances}
    if options.by_speaker:
        parts = split.deal_speakers(utterances, options.by_speaker, options.seed)
        counts.unsplit = len(utterances) - sum(map(len, parts.values()))
    elif options.split:
        parts = split.deal(utterances, options.split, split.normalised, options.seed)
    if options.speeds:
        parts = {name: [at for one in part for at in at_speeds(one, options.speeds)] for name, part in parts.items()}
    if options.concatenate:
        parts = {name: _joined(part, options, counts) for name, part in parts.items()}
    if options.shuffle:
        for part in parts.values():
            random.Random(options.seed).shuffle(part)
    return parts


def _joined(utterances: list[CorpusUtterance], options: CorpusOptions, counts: Counts) -> list[CorpusUtterance]:
    """Long clips; utterances outside the limits, or in none of them, are counted."""
    assert options.concatenate is not None
    sources = [utterance for utterance in utterances if _allowed(utterance, options.limits)]
    joined = list(unique(concatenate(sources, *options.concatenate, seed=options.seed)))
    counts.outside += len(utterances) - sum(max(1, len(clip.parts)) for clip in joined)
    return joined


def _allowed(utterance: CorpusUtterance, limits: DurationLimits) -> bool:
    if limits == DurationLimits():
        return True
    with suppress(ArlError, OSError):  # what cannot be read is a bad sample, found when it is prepared
        return limits.allow(duration_s(utterance, limits.max_s))
    return True


def _good(results: Iterable[Prepared | Bad], counts: Counts, bar: Any) -> Iterator[Prepared]:
    for result in results:
        bar.advance()
        if isinstance(result, Bad):
            counts.fail(result)
            counts.require_few()
        elif not result.members:
            counts.outside += 1
        else:
            counts.good += 1
            yield result


def _write(prepared: Iterator[Prepared], run: StageRun, fingerprint: str, batch: int) -> float:
    """Shards 000000, 000001, … of `batch` samples, the last one of what is left. Returns the seconds of audio."""
    total_s, number = 0.0, 0
    while True:
        with run.phase("run"):
            samples = list(islice(prepared, batch))
        if not samples:
            return total_s
        name = f"{number:06d}"
        with ShardWriter(run.path(name), fingerprint) as writer:
            shard = OpenShard(run, writer)
            for sample in samples:
                shard.write(sample.key, sample.members)
                shard.audio_s += sample.duration_s
            writer.finish()
            run.record(name, shard)
        run.phases.clear()
        total_s, number = total_s + shard.audio_s, number + 1


def _checked(
    fresh: Path, folders: Mapping[str, str], seconds: Mapping[str, float], banned: set[str], n_written: int,
    by_speaker: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Reads everything back: the figures of each part. ArlError when one is empty, two share a text or, by speaker, a
    speaker, and when some are lost."""
    summary, texts, speakers = {}, {}, {}
    for name, folder in folders.items():
        shards = sorted((fresh / folder).glob("*.tar"))
        n_samples, texts[name], speakers[name] = split.read_back(shards)
        if not n_samples:
            what = "no utterances are left" if name == WHOLE else f"no utterances are left for split {name}"
            raise ArlError(f"{what} (see --min-s, --max-s, --against and --split): nothing written")
        figures = (n_samples, len(texts[name]), round(seconds[name], 3), len(shards))
        summary[name] = dict(zip(FIGURES, figures, strict=True))
    if (n_read := sum(figures["utterances"] for figures in summary.values())) != n_written:
        raise ArlError(f"{n_read} of {n_written} utterances read back: nothing written; report this as a bug")
    split.check_disjoint({**texts, "--against": banned})
    if by_speaker:
        split.check_disjoint(speakers, "speakers")
    return summary


def _write_notices(fresh: Path, corpus: Corpus, options: CorpusOptions, summary: Mapping[str, Any]) -> None:
    if corpus.licence:
        (fresh / "LICENSE.txt").write_text(corpus.licence)
    if options.split or options.by_speaker:
        rule = "utterances of equal normalised text (arl.text.normalise) are in one split; read back and checked"
        told = {
            "splits": summary,
            "shares": options.by_speaker or dict(options.split),
            "seed": options.seed,
            "shared_texts": 0,
            "against": list(options.against),
            "rule": f"all utterances of a speaker, and {rule}" if options.by_speaker else rule,
        }
        if options.by_speaker:
            told["shared_speakers"] = 0
        (fresh / "splits.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
