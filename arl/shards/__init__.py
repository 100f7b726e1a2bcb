"""Shards, the only thing that passes between stages: path grammar, strict reader, atomic writer, columns, typed rows.

The names of the columns are in `arl.shards.columns`, what their JSON holds in `arl.shards.rows`, foreign tars in
`arl.shards.foreign`. Nothing is imported here, because a reward program with an environment of its own imports
`arl.shards.place` and has the standard library only.
"""
