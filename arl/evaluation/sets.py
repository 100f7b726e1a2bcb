"""Which utterances an evaluation is about: the sets of `--set NAME=SHARDS`, or the one without a name of `--shards`.

    arl eval --set short=emb/short --set long=emb/long
    arl eval --set short=emb/short --set short=data/short     # one set, its columns joined row by row

Left out: standard input for named sets, of which there are several.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from arl.errors import UsageError
from arl.shards.columns import META
from arl.shards.lineage import find_column, read_with_references
from arl.shards.paths import joined_shards
from arl.shards.reader import Sample

UNNAMED = ""  # the set of `--shards`


def parse_sets(shards: Sequence[str], words: Sequence[str]) -> dict[str, list[str]]:
    """Set name → its sources, to be joined, in the order given; {} when neither is given.

    shards: the values of `--shards`; words: those of `--set`. UsageError for both at once, or a word without a name.
    """
    if shards and words:
        raise UsageError("--shards is one set without a name; give it one: --set test=" + shards[0])
    if shards:
        return {UNNAMED: list(shards)}
    sets: dict[str, list[str]] = {}
    for word in words:
        name, equals, source = word.partition("=")
        if not equals or not source or not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(f"--set {word}: write NAME=SHARDS, for instance long=emb/long")
        if source == "-":
            raise UsageError(f"--set {word}: standard input can only be the one set of --shards -")
        sets.setdefault(name, []).append(source)
    return sets


def comparison_folders(compare: Sequence[Path], second: Sequence[Path]) -> list[Path]:
    """The folders of `--compare A B`, which gives B as an argument, and of `--compare A --compare B`.

    UsageError for an argument without --compare.
    """
    if second and not compare:
        raise UsageError(f"{second[0]}: what is it? --shards {second[0]}, or --compare A B")
    return [*compare, *second]


def read_sets(sets: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, "Sample"]]:
    """(set, utterance) of every set in turn, each utterance with its `.json` member, found as `arl reward` finds it."""
    for name, sources in sets.items():
        for _, inputs in joined_shards(sources):
            for sample in read_with_references(inputs, find_column(inputs, META)):
                yield name, sample
