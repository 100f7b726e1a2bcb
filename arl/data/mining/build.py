"""From a pool of utterances and what systems heard to the sets D0 … D3: the work behind `arl mine`.

Read the pool, leave out what the test set holds, find what qualifies for each set and why, choose, write, read back
and check, publish. Fails with nothing changed in the output folder when a set would be empty, when more samples are bad
than allowed, and when a set shares anything with the test set.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from arl.data.corpora import publish
from arl.data.mining import hard, long, transcripts
from arl.data.mining.choose import HARD, LONG, RANDOM, SETS, WORDS, SetPlan, choose, order
from arl.data.mining.held_out import Held
from arl.data.mining.keywords import Entries, Rarity
from arl.data.mining.output import SetRow, policy_of, row_of, row_of_joined, write_embeddings, write_set
from arl.data.mining.pool import Candidate, audio_shard, read_pool
from arl.data.mining.readback import MANIFEST, ReadBack, check, write_manifest
from arl.errors import ArlError
from arl.runtime.budget import FailureBudget
from arl.runtime.console import warn
from arl.runtime.stage import StageRun
from arl.shards.fingerprint import fingerprint_of, shard_digests
from arl.shards.paths import expand
from arl.text.hallucination import RULES, Thresholds

VERSION = 1  # of what this module writes: a change makes `arl mine` redo its outputs
Reasons = dict[str, dict[str, dict[str, Any]]]  # set to key to reason


@dataclass(frozen=True)
class MiningOptions:
    """What shapes the sets; the flags of `arl mine` say what each means. systems: name to folder or table."""

    plan: SetPlan = field(default_factory=SetPlan)
    systems: Mapping[str, str] = field(default_factory=dict)
    hyps: transcripts.Hyps = transcripts.FIRST
    disagree: float = 0.3
    rules: Sequence[str] = RULES
    longer_s: float = 20.0
    join: long.Join = long.AUTO
    join_up_to_s: float = 28.0
    keywords: Path | None = None
    rare: int = 1
    letters: int = 5
    against: Sequence[str] = ()
    batch: int = 32

    def arguments(self) -> dict[str, Any]:
        """As JSON, for the record."""
        plain = asdict(self) | {"keywords": None if self.keywords is None else str(self.keywords)}
        return {"version": VERSION, **plain.pop("plan"), **plain, "thresholds": asdict(Thresholds())}


def build(
    shards: Sequence[str], out: Path, options: MiningOptions, max_failed: int = 0, force: bool = False
) -> dict[str, Any]:
    """Write the sets to `out` unless they are there already. Returns the record kept in `out`/mine.json, with
    `up_to_date` added. Raises ArlError as the module says."""
    fingerprint = mining_fingerprint(shards, options)
    record = None if force else publish.is_current(out, fingerprint, publish.MINE)
    if record is not None and record["failed"] <= max_failed:
        return {**record, "up_to_date": True}
    folders = [folder for name in (*SETS, *options.plan.unions) for folder in (name, f"{name}-emb")]
    inputs = expand([*shards, *options.against])
    tables = [Path(where) for where in options.systems.values()] + ([options.keywords] if options.keywords else [])
    publish.require_ours(out, folders, publish.MINE, inputs=[*inputs, *map(audio_shard, inputs), *tables])
    budget, left_out = FailureBudget(max_failed), Counter[str]()
    test = Held.read(options.against)
    pool = _pool(shards, test, budget, left_out)
    reasons = qualifying(list(pool.values()), options, budget)
    chosen = choose(pool, reasons, options.plan)
    reasons[RANDOM] = {key: {"drawn": place} for place, key in enumerate(chosen.get(RANDOM, []), 1)}
    rows = _rows(pool, chosen, reasons, options, test)
    with publish.staging(out, publish.MINE, resume=fingerprint) as staged:
        fresh = staged / "out"
        fresh.mkdir(exist_ok=True)
        known = [candidate for candidate in pool.values() if candidate.embeddings]
        embedded = _write(rows, known, fresh, out, options, fingerprint)
        written = {name: ReadBack.of(fresh / name, rows[name]) for name in rows}
        check(written, test, options.plan.overlap)
        write_manifest(written, reasons, fresh, out)
        qualified = {name: len(reasons.get(name, rows[name])) for name in rows}
        figures = {name: each.figures() | {"qualified": qualified[name]} for name, each in written.items()}
        record = {
            "made": fingerprint,
            "arguments": options.arguments(),
            "pool": {"utterances": len(pool), "left_out": dict(left_out)},
            "sets": figures,
            "embeddings": embedded,
            "failed": budget.count,
            "shards": [path.relative_to(fresh).as_posix() for path in sorted(fresh.rglob("*.tar"))],
            "beside": [MANIFEST],
        }
        publish.publish(fresh, out, folders, record, publish.MINE)
    return {**record, "up_to_date": False}


def mining_fingerprint(shards: Sequence[str], options: MiningOptions) -> str:
    """Names the result: the arguments, and the contents of all inputs, wherever they lie."""
    pool, test = expand(shards), expand(options.against) if options.against else []
    heard = [_table_digest(Path(where)) if transcripts.is_table(where) else shard_digests(expand([where]))
             for where in options.systems.values()]  # fmt: skip
    audio = [path for path in map(audio_shard, pool + test) if path not in pool + test]
    words = _table_digest(options.keywords) if options.keywords else None
    arguments = options.arguments() | {"systems": list(options.systems), "against": None, "keywords": None}
    what = [arguments, shard_digests(pool), shard_digests(test), shard_digests(audio), heard, words]
    return publish.MINE.prefix + fingerprint_of(what)


def _table_digest(path: Path) -> str:
    with suppress(OSError):  # its reader has the better message
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _pool(shards: Sequence[str], test: Held, budget: FailureBudget, left_out: Counter[str]) -> dict[str, Candidate]:
    """The utterances that may be trained on, by key, in the order given."""
    pool = {}
    for candidate in read_pool(shards, budget, left_out):
        if why := test.reason(candidate):
            left_out[f"{why} in --against"] += 1
        else:
            pool[candidate.key] = candidate
    if not pool:
        told = ", ".join(f"{count} {why}" for why, count in left_out.items())
        raise ArlError(f"{', '.join(shards)}: no utterances left to choose from ({told or 'all bad'})")
    return pool


def qualifying(candidates: Sequence[Candidate], options: MiningOptions, budget: FailureBudget) -> Reasons:
    """What may go to D1, D2 and D3, as far as they are asked for, and why. Raises ArlError for a set that stays
    empty, naming the threshold that would give some."""
    found: Reasons = {}
    for name, qualify in ((HARD, _hard), (LONG, _long), (WORDS, _words)):
        if name in options.plan.sets:
            found[name], advice = qualify(candidates, options, budget)
            if not found[name] and advice:
                raise ArlError(f"{name}: no utterance qualifies: {advice}")
    return found


def _hard(candidates: Sequence[Candidate], options: MiningOptions, budget: FailureBudget) -> tuple[dict[str, Any], str]:
    systems = {name: transcripts.read(name, where, options.hyps, budget) for name, where in options.systems.items()}
    measured = hard.measure(candidates, systems, options.rules, budget)
    found = hard.hard(measured, options.disagree)
    return found, "" if found else hard.advice(measured, options.disagree)


def _long(candidates: Sequence[Candidate], options: MiningOptions, budget: FailureBudget) -> tuple[dict[str, Any], str]:
    found = long.long(candidates, options.longer_s)
    can_join = options.join != long.NEVER
    return found, "" if found or can_join else long.advice(candidates, options.longer_s, options.join)


def _words(
    candidates: Sequence[Candidate], options: MiningOptions, budget: FailureBudget
) -> tuple[dict[str, Any], str]:
    found: dict[str, Any]
    if options.keywords is not None:
        entries = Entries.read(options.keywords)
        listed = {each.key: entries.found(each.text, each.lang) for each in candidates}
        found = {key: {"keywords": list(words)} for key, words in listed.items() if words}
        return found, f"no text has any of the {len(entries.words)} words of {options.keywords}"
    rarity = Rarity.count(candidates, options.letters)
    rare = {each.key: rarity.rare(each.text, each.lang, options.rare) for each in candidates}
    found = {key: {"keywords": list(words), "texts": list(words.values())} for key, words in rare.items() if words}
    rarest = rarity.rarest()
    if rarest is None:
        return found, f"no text has a word of {options.letters} letters: give --letters, or a list as --keywords"
    return (
        found,
        f"every word of {options.letters} letters stands in {rarest} texts or more: --rare {rarest}, or --keywords",
    )


def _rows(
    pool: Mapping[str, Candidate],
    chosen: Mapping[str, Sequence[str]],
    reasons: Reasons,
    options: MiningOptions,
    test: Held,
) -> dict[str, list[SetRow]]:  # fmt: skip
    """The samples of each set in their seeded order. Raises ArlError for a set that has none."""
    rows = {}
    for name in SETS:
        if name not in options.plan.sets:
            continue
        own = reasons[name]
        words = {key: own[key]["keywords"] for key in chosen[name]} if name == WORDS else {}
        rows[name] = [row_of(pool[key], own[key], words.get(key, ())) for key in chosen[name]]
        size = options.plan.sizes.get(name)
        if name == LONG and long.wants_joined(options.join, len(own), len(rows[name]), size):
            made = _in_order(_joined(pool, chosen, options, test), name, options.plan.seed)
            made = made if size is None else made[: size - len(rows[name])]
            own |= {row.key: dict(row.reason) for row in made}
            rows[name] = _in_order([*rows[name], *made], name, options.plan.seed)
        if not rows[name]:
            raise ArlError(_emptied(name, list(pool.values()), options, len(own)))
    for name in options.plan.unions:
        once = {row.key: row for part in name.split("+") for row in rows[part]}  # D3's, which has its keywords, is last
        rows[name] = _in_order(list(once.values()), name, options.plan.seed)
    return rows


def _in_order(rows: Sequence[SetRow], name: str, seed: int) -> list[SetRow]:
    by_key = {row.key: row for row in rows}
    return [by_key[key] for key in order(by_key, name, seed)]


def _joined(
    pool: Mapping[str, Candidate], chosen: Mapping[str, Sequence[str]], options: MiningOptions, test: Held
) -> list[SetRow]:
    """New clips of the utterances that no set has; with --overlap of all."""
    taken = {key for keys in chosen.values() for key in keys} if not options.plan.overlap else set()
    rest = [candidate for key, candidate in pool.items() if key not in taken]
    clips = long.joined(rest, options.longer_s, options.join_up_to_s, options.plan.seed, pool.keys())
    return [row_of_joined(clip) for clip in clips if not test.texts & long.texts(clip)]


def _emptied(name: str, candidates: Sequence[Candidate], options: MiningOptions, n_qualified: int) -> str:
    if name == LONG and not n_qualified:
        return f"{name}: {long.advice(candidates, options.longer_s, options.join)}"
    if name == RANDOM:
        return f"{name}: none left beside {options.plan.control}: give --size {RANDOM}=N"
    return f"{name}: the {n_qualified} that qualify went to other sets: give those a --size, or --overlap"


def _write(
    rows: Mapping[str, Sequence[SetRow]],
    known: Sequence[Candidate],
    fresh: Path,
    out: Path,
    options: MiningOptions,
    fingerprint: str,
) -> list[str]:
    """All shards. known: the pool's utterances with embeddings. Returns the sets whose embeddings are there too."""
    embedded, arguments = [], options.arguments()
    for name, own in rows.items():
        write_set(own, StageRun("mine", fresh / name, arguments), fingerprint, options.batch)
        if all(row.embeddings for row in own):
            folder = f"{name}-emb"
            run = StageRun("mine", fresh / folder, arguments, sources=[fresh / name])
            write_embeddings(own, run, fingerprint, options.batch, policy_of(known, out / folder))
            embedded.append(name)
        elif known:
            warn(f"{name}: has utterances without embeddings; encode it: arl encode --shards {out / name}")
    return embedded
