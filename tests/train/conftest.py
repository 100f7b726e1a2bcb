"""What tests of updates begin with: a tiny policy, and shards of its rollouts and of transcripts."""

import pytest

from arl.policy import Policy
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards, make_sft_shards


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return Policy.open(make_tiny_policy(tmp_path_factory.mktemp("start") / "policy"))


@pytest.fixture(scope="module")
def rl(start: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_rl_shards(tmp_path_factory.mktemp("rl"), start)


@pytest.fixture(scope="module")
def sft(start: Policy, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sft_shards(tmp_path_factory.mktemp("sft"), start)
