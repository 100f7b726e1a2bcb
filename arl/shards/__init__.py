"""Shards, the only thing that passes between stages: path grammar, strict reader, atomic writer, columns.


The names of the columns and their formats are in `arl.shards.columns`, foreign tars in `arl.shards.foreign`.
"""

from arl.shards.marker import EndMarker, read_marker
from arl.shards.paths import expand, joined_shards, spooled
from arl.shards.reader import Sample, read_joined, read_shard
from arl.shards.writer import ShardWriter, remove_stale, write_shard

__all__ = [
    "EndMarker",
    "Sample",
    "ShardWriter",
    "expand",
    "joined_shards",
    "read_joined",
    "read_marker",
    "read_shard",
    "remove_stale",
    "spooled",
    "write_shard",
]
