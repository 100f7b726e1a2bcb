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

from pathlib import Path
from typing import Annotated, Literal

import typer

from arl.cli import options
from arl.shards.columns import dumps

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
    hyps: Annotated[
        Literal["first", "all"], typer.Option(help="Hypotheses of a rollout that count.", rich_help_panel=INPUT)
    ] = "first",
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
        Literal["auto", "always", "never"],
        typer.Option(help="Join neighbours; auto: where none is so long, or fewer than --size.", rich_help_panel=D2),
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
    from arl.data.mining.mine_stage import Request, make_sets

    request = Request(
        system or (), hyps, against or (), sets, size, control, overlap, disagree, rule or (), longer_s, join,
        join_up_to_s, keywords, rare, letters, batch, seed,
    )  # fmt: skip
    record = make_sets(shards, out, request, max_failed, force, shows_table=not as_json)
    if as_json:
        print(dumps(record).decode())
