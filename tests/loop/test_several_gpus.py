"""A step's update under `make loop GPUS=2`: torchrun, two processes on a CPU, the policy of one process."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from arl.cli.update import update
from arl.policy import Policy
from arl.shards.record import read_record
from tests.examples.tables import make
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards

LR = 1e-3


def make_step(run: Path) -> Policy:
    """A run that has done everything before its first update."""
    policy, step = Policy.open(make_tiny_policy(run / "policy")), run / "step-000001"
    emb, _, _ = make_rl_shards(step, policy, shards=1)
    (run / "emb").mkdir()
    Path(emb).rename(run / "emb" / "train")
    (step / "shards").write_text("000000\n")
    (run / "eval" / "000000").mkdir(parents=True)
    for stamp in (run / "eval" / "000000" / "summary.json", step / "reward.done"):
        stamp.touch()
    return policy


@pytest.mark.slow
def test_two_processes_of_torchrun_end_with_the_policy_of_one(tmp_path: Path) -> None:
    start, step = make_step(tmp_path), tmp_path / "step-000001"
    values = [f"RUN={tmp_path}", "STEP=1", "GPUS=2", f"UPDATE=--lr {LR}", f"{step}/update.done"]
    done = make("-f", "examples/loop.mk", *values)
    assert done.returncode == 0, done.stderr
    two = Policy.open(step / "policy")
    assert read_record(two.path)[0]["ranks"] == 2 and read_record(step / "update")[0]["shard"] == "000000"
    shards = [f"{tmp_path}/emb/train/000000.tar", f"{step}/rollout", f"{step}/reward"]
    update(shards=shards, policy=start.path, reference=start.path, out=tmp_path / "one", lr=LR, threads=1, device="cpu")
    one = Policy.open(tmp_path / "one")
    assert one.fields["made"] == two.fields["made"] and one.version != start.version
    found, expected = (load_file(policy.llm_dir / "model.safetensors") for policy in (two, one))
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < LR / 100
