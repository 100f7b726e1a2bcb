"""The rows of the columns as typed records: one definition each, read with all checks, written as the same bytes.

    rollout = Rollout.of(sample)                       # ArlError names the shard, the sample and the field
    shard.write(key, Rollout(version, 1.0, hyps).members())

`arl check` prints the problems that the same classes find. Left out: what needs the policy, such as whether a token id
is within its vocabulary; tensors are in `arl.shards.columns`, waveforms in `arl.audio`.
"""

from arl.shards.rows.audio import Codes, Meta
from arl.shards.rows.form import TOO_DEEP, is_deep, is_number
from arl.shards.rows.prompt import Prompt, failed_to_encode
from arl.shards.rows.reward import Reward
from arl.shards.rows.rollout import Hypothesis, NoWave, Rollout
from arl.shards.rows.row import Row

ROWS: dict[str, type[Row]] = {row.MEMBER: row for row in (Meta, Prompt, Codes, Rollout, NoWave, Reward)}

__all__ = [
    "ROWS",
    "TOO_DEEP",
    "Codes",
    "Hypothesis",
    "Meta",
    "NoWave",
    "Prompt",
    "Reward",
    "Rollout",
    "Row",
    "failed_to_encode",
    "is_deep",
    "is_number",
]
