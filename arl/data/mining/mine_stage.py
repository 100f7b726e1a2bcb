"""The mining stage: the flags of `arl mine` → training sets, and on stdout and stderr what was chosen.

    make_sets(["data/train"], None, Request(sets="D0,D2", size="200", against=["data/test"]))["sets"]

Left out: choosing and writing (build.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arl.data.mining import transcripts
from arl.data.mining.build import MiningOptions, build
from arl.data.mining.choose import HARD, LONG, SETS, WORDS, parse
from arl.data.mining.long import NEVER, Join
from arl.data.mining.show import show
from arl.data.mining.transcripts import Hyps
from arl.errors import UsageError
from arl.runtime.console import note, warn
from arl.runtime.ranks import part
from arl.runtime.stage import default_out
from arl.text.hallucination import RULES

NO_RULE = "none"


@dataclass(frozen=True)
class Request:
    """The flags that choose. systems: NAME=PATH. sets, size, control: as `choose.parse` reads them. rules: [] for all,
    ["none"] for none. The rest as in `MiningOptions`."""

    systems: Sequence[str] = ()
    hyps: Hyps = "first"
    against: Sequence[str] = ()
    sets: str = ",".join(SETS)
    size: str = ""
    control: str = ""
    overlap: bool = False
    disagree: float = 0.3
    rules: Sequence[str] = ()
    longer_s: float = 20.0
    join: Join = "auto"
    join_up_to_s: float = 28.0
    keywords: Path | None = None
    rare: int = 1
    letters: int = 5
    batch: int = 32
    seed: int = 0

    def options(self) -> MiningOptions:
        """UsageError for words that cannot be, and for flags that contradict each other."""
        wanted = MiningOptions(
            plan=parse(self.sets, self.size, self.control, self.overlap, self.seed),
            systems=transcripts.parse(self.systems), hyps=self.hyps, disagree=self.disagree, rules=_rules(self.rules),
            longer_s=self.longer_s, join=self.join, join_up_to_s=self.join_up_to_s, keywords=self.keywords,
            rare=self.rare, letters=self.letters, against=self.against, batch=self.batch,
        )  # fmt: skip
        _refuse_contradictions(wanted)
        return wanted


def make_sets(
    shards: Sequence[str], out: Path | None, request: Request, max_failed: int = 0, force: bool = False,
    shows_table: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """`out`/mine.json with "out" and "up_to_date". UsageError for wrong flags; ArlError as `build`."""
    wanted = request.options()
    if part()[1] > 1:
        raise UsageError("arl mine chooses from the whole corpus: run it in one process")
    folder = out or default_out("mine", shards)
    if not wanted.against:
        warn("no --against: the sets are not compared with a test set")
    record = build(shards, folder, wanted, max_failed, force)
    if shows_table:
        show(folder, record)
    _tell(folder, record, wanted.plan.sizes)
    return {"out": str(folder), **record}


def _tell(folder: Path, record: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    for name, most in sizes.items():
        if (chosen := record["sets"][name]["utterances"]) < most:
            warn(f"{name}: {chosen} of {most} utterances: no more qualify and are left by the other sets")
    if left_out := record["pool"]["left_out"] | ({"bad": record["failed"]} if record["failed"] else {}):
        note(f"mine: {folder}: left out: " + ", ".join(f"{count} {why}" for why, count in sorted(left_out.items())))
    if record["up_to_date"]:
        note(f"mine: {folder}: up to date (-f redoes it)")


def _rules(names: Sequence[str]) -> tuple[str, ...]:
    """The hallucination rules that count, in their order."""
    if not names:
        return RULES
    known = (*RULES, NO_RULE)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--rule {unknown[0]}: {', '.join(known[:-1])} or {known[-1]}")
    if NO_RULE in names and len(set(names)) > 1:
        raise UsageError("--rule none goes with no other --rule")
    return tuple(name for name in RULES if name in names)


def _refuse_contradictions(wanted: MiningOptions) -> None:
    sets = wanted.plan.sets
    rest = ",".join(name for name in SETS if name in sets and name != HARD)
    if HARD in sets and not wanted.systems:
        instead = f", or leave it out: --sets {rest}" if rest else ""
        raise UsageError(f"{HARD} needs transcripts: --system NAME=rollout/ or NAME=file.tsv{instead}")
    if wanted.systems and HARD not in sets:
        raise UsageError(f"--system is for {HARD}, which is not in --sets")
    if wanted.keywords is not None and WORDS not in sets:
        raise UsageError(f"--keywords is for {WORDS}, which is not in --sets")
    if LONG in sets and wanted.join != NEVER and wanted.join_up_to_s <= wanted.longer_s:
        raise UsageError(f"--join-up-to-s {wanted.join_up_to_s:g} is not above --longer-s {wanted.longer_s:g}")
