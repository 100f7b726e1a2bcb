"""`arl plan`: formulas against what a process takes, and flags that follow the machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.errors import ArlError
from arl.planning.memory import Setup, activations, bus_gb, parts_gb
from arl.planning.plan import Request, operations, plan_rollout, plan_update
from arl.planning.shape import Shape
from benchmarks.models import QWEN2_05B, QWEN2_7B
from tests.tiny import make_tiny_policy


def test_the_flags_follow_the_machine() -> None:
    """A 0.5B needs nothing on 80 GB; of a 7B one GPU trains an adapter, and eight all weights."""
    small = plan_update(QWEN2_05B, Request(), 2)
    assert small["fits"] and small["flags"] == "--tokens 16384" and small["command"] == "arl update"
    one, eight = (plan_update(QWEN2_7B, Request(gpus=gpus), 2) for gpus in (1, 8))
    assert one["fits"] and one["flags"] == "--lora-rank 16 --tokens 8192"
    assert eight["fits"] and eight["flags"].startswith("--tokens") and eight["command"].startswith("torchrun --nproc")
    assert "--lora-rank" in plan_update(QWEN2_7B, Request(gpu_memory_gb=40), 2)["flags"]
    assert not plan_update(QWEN2_7B, Request(gpu_memory_gb=8), 2)["fits"]


def test_operations_of_the_update_follow_its_flags() -> None:
    """Without a head: three passes of all weights, two of a frozen base, one more with checkpointing."""
    shape = replace(QWEN2_7B, vocab=0)
    wanted = {"": 3, "--lora-rank 16": 2, "--checkpointing": 4, "--checkpointing --lora-rank 16": 3}
    for flags, passes in wanted.items():
        found = operations(shape, Request(), 250, 30, flags)
        assert found["update"] / found["reference"] == pytest.approx(passes)
        assert sum(found.values()) == pytest.approx(1.0)


def test_what_else_fits_is_said_with_its_cost() -> None:
    """All weights of a 7B on one GPU of 80 GB: with 106.6 GB on the host, of which all but the reference goes back."""
    found = plan_update(QWEN2_7B, Request(), 2)
    costs = {way["flags"]: way["cost"] for way in found["alternatives"]}
    assert all(way["fits"] and way["total_gb"] <= 72 for way in found["alternatives"])
    assert "40 M parameters" in found["cost"] and found["flags"] not in costs
    offload = costs["--checkpointing --offload --tokens 8192"]
    assert "107 GB of host memory, 198 GB between it" in offload and "a third more time" in offload
    setup = Setup(offload=True)
    assert bus_gb(QWEN2_7B, setup) == pytest.approx(2 * parts_gb(QWEN2_7B, setup)["host"] - 15.23, abs=0.01)
    assert plan_update(QWEN2_7B, Request(gpu_memory_gb=8), 2)["alternatives"] == []


def test_the_engine_is_replicated_where_there_is_room() -> None:
    assert plan_rollout(QWEN2_7B, Request(gpus=8), 2, 250, 30)["flags"] == "--dp 8"
    tight = plan_rollout(QWEN2_7B, Request(gpus=8, gpu_memory_gb=16), 2, 250, 30)
    assert tight["fits"] and tight["flags"] == "--tp 2 --dp 4"


def test_an_adapter_has_no_reference_and_little_state() -> None:
    parts = parts_gb(QWEN2_7B, Setup(lora_rank=16))
    assert parts["reference"] == 0 and parts["optimizer"] + parts["gradients"] < 1
    assert activations(QWEN2_7B, Setup(checkpointing=True)) < 0.2 * activations(QWEN2_7B, Setup())


def test_the_command(tmp_path: Path) -> None:
    policy = make_tiny_policy(tmp_path / "policy")
    words = ["plan", "--policy", str(policy), "--gpus", "2"]
    result = CliRunner().invoke(make_app("plan"), words)
    assert result.exit_code == 0 and "not known:" in result.output and "fits" in result.output
    assert "the update's flags cost: nothing\n  or --checkpointing --tokens 16384: " in result.output
    found = json.loads(CliRunner().invoke(make_app("plan"), [*words, "--json"]).stdout)
    assert sum(found["operations"].values()) == pytest.approx(1.0) and found["update"]["fits"]
    with pytest.raises(ArlError, match="no num_hidden_layers"):
        Shape.of("llm", {**dict.fromkeys(("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"), 8)})
