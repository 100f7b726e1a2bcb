"""Flags that mean the same in every command, written once.

Order of precedence: the flag, then its `ARL_*` environment variable, then the default.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer


def with_stdin_in_a_file(context: typer.Context, shards: list[str]) -> list[str]:
    """`-` copied to a file, which lives as long as the command: stages look at their inputs more than once."""
    if "-" not in shards:
        return shards
    from arl.shards.paths import joined_shards, spooled

    ((name, paths),) = joined_shards(shards)
    return [str(path) for path in context.with_resource(spooled(paths, name))]


def with_growing_stdin(context: typer.Context, shards: list[str]) -> list[str]:
    """`-` as a file that can be read while it still grows."""
    if "-" not in shards:
        return shards
    from arl.shards.growing import growing
    from arl.shards.paths import joined_shards

    ((name, paths),) = joined_shards(shards)
    grown = context.with_resource(growing(sys.stdin.buffer, name))
    return [str(grown if str(path) == "-" else path) for path in paths]


def given(context: typer.Context) -> frozenset[str]:
    """The parameters that stand on the command line, rather than in the environment or at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


Shards = Annotated[
    list[str],
    typer.Option(
        "--shards",
        help="Input: a folder, a .tar, a-{000000..000012}.tar, or -. Repeat to join columns row by row.",
        callback=with_stdin_in_a_file,
    ),
]
GrowingShards = Annotated[
    list[str],
    typer.Option(
        "--shards",
        help="Input: a folder, a .tar, a-{000000..000012}.tar, or -, read as it comes. Repeat to join columns.",
        callback=with_growing_stdin,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Output folder. Default: named after the stage, beside the first --shards."),
]
PolicyDir = Annotated[
    Path | None, typer.Option("--policy", envvar="ARL_POLICY", help="Policy folder, as `arl init` makes it.")
]
EngineDir = Annotated[
    Path, typer.Option("--engine", envvar="ARL_ENGINE", help="Folder with the resident engine's socket data and log.")
]
Device = Annotated[str, typer.Option("--device", envvar="ARL_DEVICE", help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option("--threads", envvar="ARL_THREADS", help="CPU threads; 0: all cores.")]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", envvar="ARL_SEED", help="Equal seeds and inputs give equal outputs; on a GPU, up to rounding."
    ),
]
Gpus = Annotated[int, typer.Option("--gpus", min=1, help="Processes, one a GPU of this node, that share the shards.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Redo shards that are already done.")]
MaxFailed = Annotated[int, typer.Option("--max-failed", help="Bad samples tolerated before the stage fails.")]

DEFAULT_ENGINE = Path(".arl/engine")
