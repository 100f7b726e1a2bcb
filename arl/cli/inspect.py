"""Looking inside shards: `arl ls`, `arl cat`, `arl check`.

They read shards as strictly as the stages do. What they print is data on stdout, one line a thing; notes go to
stderr. `arl check` also runs the contract on a reward program. Left out: changing anything.

    arl ls emb/ rollout/
    arl cat --json rollout/ --join reward/ | jq -c '{key, rewards: .["reward.json"].rewards}'
    arl check rollout/ --join reward/
"""

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from arl.cli import options
from arl.cli.streams import closed_pipe_is_success
from arl.errors import UsageError
from arl.runtime.console import note, stdout_console, warn
from arl.shards.look import describe, json_line, shard_row
from arl.shards.paths import expand, match_sources
from arl.shards.reader import read_joined

PATHS_HELP = "Shards: folders, .tar files, a-{000000..000012}.tar, or - (standard input)."
Join = Annotated[
    list[str] | None, typer.Option("--join", help="Another source of the same shards, joined row by row. Repeatable.")
]
LS_FIELDS = ("path", "samples", "seconds", "members", "state")


def ls(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help=PATHS_HELP)],
    as_json: options.Json = False,
) -> None:
    """List shards: path, samples, seconds of audio, members, whole or damaged.

    A table on a terminal; in a pipe one line a shard, tab-separated, "-" for what is not known. The bytes of a shard
    are not compared with its digest (`arl check` does). A damaged shard makes the exit code 1.

    Example: arl ls emb/
    """
    rows = map(shard_row, expand(paths))
    damaged = False
    with closed_pipe_is_success():
        if sys.stdout.isatty() and not as_json:
            table = list(rows)
            _print_table(table)
            damaged = any(row["problem"] for row in table)
        else:
            for row in rows:
                print(json_line(row) if as_json else "\t".join(_cells(row)), flush=True)
                damaged = damaged or row["problem"] is not None
                if row["problem"]:
                    warn(row["problem"])
    if damaged:
        raise typer.Exit(1)


def cat(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH", help=PATHS_HELP)] = None,
    join: Join = None,
    as_json: options.Json = False,
) -> None:
    """Print samples, as text or as one JSON object a line.

    JSON members stand under their name, tensors as {dtype, shape}, anything else as {bytes}. All PATHs together are
    one source; each --join is another, whose shards of the same name are joined row by row.

    Example: arl cat --json rollout/ --join reward/
    """
    sources = ([paths] if paths else []) + [[source] for source in join or []]
    if not sources:
        raise UsageError("arl cat: no shards given; name a folder, a .tar or -")
    expanded = [expand(source) for source in sources]
    groups = [[path] for path in expanded[0]] if len(expanded) == 1 else [g for _, g in match_sources(expanded)]
    with closed_pipe_is_success():
        for shards in groups:
            for sample in read_joined(shards):
                fields = {name: describe(sample, name) for name in sample.members}
                print(json_line({"key": sample.key, **fields}) if as_json else _text(sample.key, fields))


def check(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET", help=f"{PATHS_HELP} Or a reward program.")],
    join: Join = None,
    as_json: options.Json = False,
) -> None:
    """Check shards to the last byte and their columns' content, audio too, or a reward program against its contract.

    Prints one line a problem and exits with 1 when there is one. A target is a program when it ends in .py, names a
    shipped one, or is a command; with --join all targets are one source of shards.

    Example: arl check rollout/ --join reward/
    """
    from arl.rewards.check import problems

    found = 0
    with closed_pipe_is_success():
        for target, problem in problems(targets, join or [], _listen):
            print(json_line({"target": target, "problem": problem}) if as_json else problem, flush=True)
            found += 1
    if found:
        note(f"arl: {found} problem{'s' if found > 1 else ''}")
        raise typer.Exit(1)
    note(f"arl: {len(targets)} target{'s' if len(targets) > 1 else ''} checked, no problem")


def _listen(content: bytes, name: str) -> None:
    """Decodes a waveform, as the stages that read audio do."""
    from arl.audio.io import load

    load(content, name=name)


def _cells(row: dict[str, Any]) -> list[str]:
    members = None if row["members"] is None else ",".join(_shorten(row["members"])) or None
    seconds = None if row["seconds"] is None else f"{row['seconds']:.1f}"
    texts = {**row, "members": members, "seconds": seconds}
    return ["-" if texts[name] is None else str(texts[name]) for name in LS_FIELDS]


def _shorten(members: Sequence[str]) -> list[str]:
    """One waveform a hypothesis is one word: 00.flac, 01.flac, ... → *.flac."""
    return list(dict.fromkeys(re.sub(r"^\d+\.", "*.", member) for member in members))


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*LS_FIELDS, box=None, header_style="", pad_edge=False)
    for name in ("samples", "seconds"):
        table.columns[LS_FIELDS.index(name)].justify = "right"
    for row in rows:
        table.add_row(*map(Text, _cells(row)))  # Text: a file name with brackets is no markup
    stdout_console().print(table)
    for row in rows:
        if row["problem"]:
            warn(row["problem"])


def _text(key: str, fields: dict[str, Any]) -> str:
    width = max(map(len, fields))
    return "\n".join([key, *(f"  {name:{width}}  {json_line(value)}" for name, value in fields.items())])
