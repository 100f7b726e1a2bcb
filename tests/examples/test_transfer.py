"""Cosines of the gradients of two sets of rollouts."""

from pathlib import Path

import pytest

from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard
from tests.tiny_asr import make_tiny_asr_policy
from tests.train.columns import make_rl_shards


def negated(rewards: Path, out: Path) -> str:
    """The same rewards with the opposite advantages."""
    for path in sorted(rewards.glob("*.tar")):
        rows = []
        for sample in read_shard(path):
            scores = sample.json(columns.REWARD)
            scores["advantages"] = [-value for value in scores["advantages"]]
            rows.append((sample.key, {columns.REWARD: columns.dumps(scores)}))
        write_shard(out / path.name, rows)
    return str(out)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_set_agrees_with_itself_and_not_with_its_opposite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sign: int
) -> None:
    from examples.asr import transfer

    policy = make_tiny_asr_policy(tmp_path / "policy")
    shards = make_rl_shards(tmp_path, Policy.open(policy), shards=2, utterances=6)
    other = [*shards[:2], negated(tmp_path / "reward", tmp_path / "negated")] if sign < 0 else shards
    transfer.main(policy, shards, other, loss="grpo", threads=1)
    halves, both = capsys.readouterr().out.splitlines()
    assert f"--shards with --against: {sign:.3f}," in both
    assert halves.startswith("halves of --shards: ")
