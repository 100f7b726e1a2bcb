"""`arl mine`: a corpus and what recognisers make of it → training sets: random, hard, long, with special vocabulary.

    arl mine --shards data/train --system base=run/rollout --system other=other.tsv --against data/test -o sets
    arl mine --shards emb/ --sets D0,D2 --size D0=200 --against data/test     # the embeddings are copied too
    arl mine --shards data/train --sets D3 --keywords brands.txt
    arl mine --shards data/train --sets D0+D2,D1+D2,D1+D2+D3 --system base=run/rollout --hyps all    # and their unions

The sets of the paper (arXiv 2509.18569, section 4): D0 random control, D1 hard and hallucinating, D2 long, D3 names and
special vocabulary. An utterance goes to one set (`--overlap`: to each that it qualifies for), so that unions of sets
repeat none; arl/data/mining/choose.py says in which order. `D0+D2` makes such a union, shuffled, beside its sets.

Writes `D0/000000.tar` … in the audio column, `D0-emb/` where --shards are embeddings, `manifest.jsonl` with the reason
of each utterance, and `mine.json`, the summary. Left out: transcribing (`arl rollout` does), balancing by speaker or
length.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl.cli import options
from arl.errors import UsageError

if TYPE_CHECKING:
    from arl.data.mining.build import Options

INPUT, SIZES = "Where from", "How many"
D1, D2, D3 = "D1, hard and hallucinating", "D2, long", "D3, special vocabulary"


def mine(
    shards: Annotated[
        list[str],
        typer.Option(
            "--shards",
            help="Audio shards, or embeddings, whose audio is found by their records. Repeat for several sources.",
            callback=options.with_stdin_in_a_file,
            rich_help_panel=INPUT,
        ),
    ],
    out: options.Out = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="What a system heard: rollout shards, or a table of key<TAB>text. Repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    hyps: Annotated[str, typer.Option(help="first or all hypotheses of a rollout.", rich_help_panel=INPUT)] = "first",
    against: Annotated[
        list[str] | None,
        typer.Option(help="Test set, of which no text and no clip may be in a set. Repeatable.", rich_help_panel=INPUT),
    ] = None,
    sets: Annotated[
        str, typer.Option(help="Which to make; D0+D2: and the union of two.", rich_help_panel=SIZES)
    ] = "D0,D1,D2,D3",
    size: Annotated[
        str, typer.Option(metavar="N|D1=N,…", help="The most utterances of a set, or of each.", rich_help_panel=SIZES)
    ] = "",
    control: Annotated[
        str,
        typer.Option(
            help="The set whose size D0 gets, without a --size. [default: the first of D1, D3, D2 made]",
            rich_help_panel=SIZES,
        ),
    ] = "",  # fmt: skip
    overlap: Annotated[
        bool,
        typer.Option("--overlap", help="An utterance goes to every set it qualifies for.", rich_help_panel=SIZES),
    ] = False,
    disagree: Annotated[
        float,
        typer.Option(min=0, max=1, help="Two systems disagree by more than this WER (or CER).", rich_help_panel=D1),
    ] = 0.3,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="Hallucination rule that counts, or none. Repeatable. [default: all]", rich_help_panel=D1),
    ] = None,
    longer_s: Annotated[float, typer.Option(min=0, help="Longer than this, in seconds.", rich_help_panel=D2)] = 20.0,
    join: Annotated[
        str,
        typer.Option(
            help="Join neighbours: auto (none is so long, or fewer than --size), always, never.", rich_help_panel=D2
        ),
    ] = "auto",
    join_up_to_s: Annotated[float, typer.Option(help="Longest joined clip, in seconds.", rich_help_panel=D2)] = 28.0,
    keywords: Annotated[
        Path | None,
        typer.Option(help="One word or phrase a line. Default: the corpus's rare words.", rich_help_panel=D3),
    ] = None,
    rare: Annotated[int, typer.Option(min=1, help="Rare: in at most so many texts.", rich_help_panel=D3)] = 1,
    letters: Annotated[int, typer.Option(min=1, help="Rare: of at least so many letters.", rich_help_panel=D3)] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Utterances per shard; a step takes one shard.")] = 32,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
    as_json: options.Json = False,
) -> None:
    """Choose training sets from a corpus: random, hard, long, with special vocabulary.

    Example: arl mine --shards data/train --system base=rollout/ --system other=other.tsv --against data/test -o sets
    """
    from arl.data.mining import transcripts
    from arl.data.mining.build import Options, build
    from arl.data.mining.choose import parse
    from arl.data.mining.long import JOINS
    from arl.runtime.console import note, warn
    from arl.runtime.stage import default_out
    from arl.shards.columns import dumps

    plan = parse(sets, size, control, overlap, seed)
    wanted = Options(
        plan=plan, systems=transcripts.parse(system or ()), hyps=_one_of("--hyps", hyps, transcripts.HYPS),
        disagree=disagree, rules=_rules(rule or ()), longer_s=longer_s, join=_one_of("--join", join, JOINS),
        join_up_to_s=join_up_to_s, keywords=keywords, rare=rare, letters=letters, against=against or (), batch=batch,
    )  # fmt: skip
    _refuse_contradictions(wanted)
    folder = out or default_out("mine", shards)
    if not against:
        warn("no --against: the sets are not compared with a test set")
    record = build(shards, folder, wanted, max_failed, force)
    if as_json:
        print(dumps({"out": str(folder), **record}).decode())
    else:
        show(folder, record)
    for name, most in plan.sizes.items():
        if (chosen := record["sets"][name]["utterances"]) < most:
            warn(f"{name}: {chosen} of {most} utterances: no more qualify and are left by the other sets")
    if left_out := record["pool"]["left_out"] | ({"bad": record["failed"]} if record["failed"] else {}):
        note(f"mine: {folder}: left out: " + ", ".join(f"{count} {why}" for why, count in sorted(left_out.items())))
    if record["up_to_date"]:
        note(f"mine: {folder}: up to date (-f redoes it)")


def _one_of(flag: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"{flag} {value}: {', '.join(known[:-1])} or {known[-1]}")
    return value


def _rules(names: Sequence[str]) -> tuple[str, ...]:
    """The hallucination rules that count, in their order."""
    from arl.text.hallucination import RULES

    if not names:
        return RULES
    chosen = {_one_of("--rule", name, (*RULES, "none")) for name in names}
    if "none" in chosen and len(chosen) > 1:
        raise UsageError("--rule none goes with no other --rule")
    return tuple(name for name in RULES if name in chosen)


def _refuse_contradictions(wanted: "Options") -> None:
    from arl.data.mining.choose import HARD, LONG, SETS, WORDS

    sets = wanted.plan.sets
    rest = ",".join(name for name in SETS if name in sets and name != HARD)
    if HARD in sets and not wanted.systems:
        instead = f", or leave it out: --sets {rest}" if rest else ""
        raise UsageError(f"{HARD} needs transcripts: --system NAME=rollout/ or NAME=file.tsv{instead}")
    if wanted.systems and HARD not in sets:
        raise UsageError(f"--system is for {HARD}, which is not in --sets")
    if wanted.keywords is not None and WORDS not in sets:
        raise UsageError(f"--keywords is for {WORDS}, which is not in --sets")
    if LONG in sets and wanted.join != "never" and wanted.join_up_to_s <= wanted.longer_s:
        raise UsageError(f"--join-up-to-s {wanted.join_up_to_s:g} is not above --longer-s {wanted.longer_s:g}")


def show(folder: Path, record: dict[str, Any]) -> None:
    """The summary as a table for people, on stdout."""
    from rich.table import Table

    from arl.runtime.console import stdout_console

    table = Table(title=f"{folder}: of {record['pool']['utterances']} utterances")
    for name in ("set", "qualify", "chosen", "minutes", "words", "joined", "with keywords", "shards"):
        table.add_column(name, justify="left" if name == "set" else "right")
    for name, figures in sorted(record["sets"].items(), key=lambda item: ("+" in item[0], item[0])):
        counts = {**figures, "minutes": f"{60 * figures['hours']:.1f}"}
        shown = ("qualified", "utterances", "minutes", "words", "concatenated", "with_keywords", "shards")
        table.add_row(name, *(str(counts[each]) for each in shown))
    console = stdout_console()
    console.print(table)
    for name, why in rules_in_words(record["arguments"]).items():
        if name in record["sets"]:
            console.print(f"{name}: {why}")


def rules_in_words(arguments: dict[str, Any]) -> dict[str, str]:
    """Why an utterance is in a set, with the thresholds used."""
    rules = ", ".join(arguments["rules"])
    rare = f"a word of {arguments['letters']} letters or more that stands in at most {arguments['rare']} text(s)"
    return {
        "D0": f"drawn at random, seed {arguments['seed']}",
        "D1": f"systems disagree by more than {arguments['disagree']:g}"
        + (f", or a rule fires: {rules}" * bool(rules)),
        "D2": f"longer than {arguments['longer_s']:g} s",
        "D3": f"a word of {arguments['keywords']}" if arguments["keywords"] else rare,
    }
