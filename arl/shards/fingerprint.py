"""Naming a result by what it is made from: equal arguments and equal inputs give an equal fingerprint.

    fingerprint_of(["reward", arguments, shard_digests(inputs)])     # 32 hex digits, kept in the output's end marker

A digest is of bytes and stands in the end marker of every shard, so that naming a result costs one read of each
input's tail.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.shards.growing import wait_until_whole
from arl.shards.marker import read_marker


def fingerprint_of(inputs: Any) -> str:
    """32 hex digits that name `inputs`, a JSON value."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def shard_digests(shards: Iterable[Path]) -> list[str]:
    """The digest of each shard's contents, in order. ArlError for one without an end marker."""
    return [_digest(shard) for shard in shards]


def _digest(shard: Path) -> str:
    wait_until_whole(shard)
    marker = read_marker(shard)
    if marker is None:
        raise ArlError(f"{shard}: no end marker: truncated, or not written by arl; `arl check {shard}` says more")
    return marker.sha256
