"""`arl plan`: formulas against what a process takes, and flags that follow the machine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.errors import ArlError
from arl.planning.memory import Setup, activations, parts_gb, total_gb
from arl.planning.plan import Request, plan_rollout, plan_update
from arl.planning.shape import Shape
from benchmarks.models import QWEN2_05B, QWEN2_7B
from benchmarks.models import Shape as Model
from tests.tiny import make_tiny_policy


@pytest.mark.slow
@pytest.mark.parametrize("shape", [Model("a", 512, 8, 8, 4, 2048, 4096), Model("b", 768, 6, 12, 4, 3072, 8192)])
def test_an_update_takes_what_the_formula_says(shape: Model) -> None:
    """Within 15 %, of what the second step adds to the weights: on a CPU, in float32, without checkpointing."""
    from arl.losses.grpo import Grpo
    from arl.train.optimizer import make_adamw
    from arl.train.step import Compute, apply_gradient, policy_backward
    from benchmarks.measure import peak_memory_mb
    from benchmarks.models import make_groups, make_model

    model, groups = make_model(shape), make_groups(shape, 4, 200, 40, 6)
    compute = Compute(shape.audio_token_id, 10**9)

    def steps() -> None:
        optimizer = make_adamw(dict(model.named_parameters()), 0.0)
        for _ in range(2):
            policy_backward(model, groups, Grpo(beta=0.0), None, compute)
            apply_gradient(optimizer, 1e-3, 1.0)

    tokens = sum(group.row_length for group in groups)
    parts = parts_gb(shape, Setup(tokens=tokens, reference=False, bytes=4, chunk=compute.chunk))
    assert 1e3 * (total_gb(parts) - parts["weights"]) == pytest.approx(peak_memory_mb(steps), rel=0.15)


def test_the_flags_follow_the_machine() -> None:
    """A 0.5B needs nothing on 80 GB; a 7B host memory on one GPU and none on eight."""
    small = plan_update(QWEN2_05B, Request(), 2)
    assert small["fits"] and small["flags"] == "--tokens 16384" and small["command"] == "arl update"
    one, eight = (plan_update(QWEN2_7B, Request(gpus=gpus), 2) for gpus in (1, 8))
    assert one["fits"] and "--checkpointing --offload" in one["flags"]
    assert eight["fits"] and "--offload" not in eight["flags"] and eight["command"].startswith("torchrun --nproc")
    assert "--lora-rank" in plan_update(QWEN2_7B, Request(gpu_memory_gb=40), 2)["flags"]
    assert not plan_update(QWEN2_7B, Request(gpu_memory_gb=8), 2)["fits"]


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
    found = json.loads(CliRunner().invoke(make_app("plan"), [*words, "--json"]).stdout)
    assert sum(found["operations"].values()) == pytest.approx(1.0) and found["update"]["fits"]
    with pytest.raises(ArlError, match="no num_hidden_layers"):
        Shape.of("llm", {**dict.fromkeys(("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"), 8)})
