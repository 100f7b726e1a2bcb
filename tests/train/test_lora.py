"""Updates that train an adapter: exact gradients, a base that is never written, continued and resumed bit for bit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from arl.errors import ArlError, UsageError
from arl.losses.grpo import Grpo
from arl.policy import Policy
from arl.shards.paths import joined_shards
from arl.shards.record import read_record
from arl.train import learner as learner_module
from arl.train.job import UpdateJob
from arl.train.lora import LoraSpec, adapter_parameters, attach, linear_layers, start_llm, without_adapter
from arl.train.lora_checks import settings_with_adapter
from arl.train.run import load_learner
from arl.train.settings import UpdateSettings
from arl.train.shared_prefix import per_row_log_probs
from arl.train.step import Compute, policy_backward
from tests.tiny import make_tiny_policy
from tests.train.columns import make_rl_shards
from tests.train.exact import AUDIO, float64_layers, gradients, largest_difference, make_decoder, make_group
from tests.train.test_learner import bits, killed, made

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def first(start: Policy, rl: list[str], tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return made(rl, start, tmp_path_factory.mktemp("first") / "policy", lora_rank=4, lora_targets="q_proj, v_proj")


def adapted_decoder(model_type: str = "qwen2", **settings: Any) -> Any:
    """A float64 decoder with an adapter whose B is not zero."""
    model = make_decoder(model_type, **settings)
    attach(model, LoraSpec(3, 6), seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def adapter_gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: gradient for name, gradient in gradients(model).items() if "lora_" in name}


# ---- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_shared_prefix_gradients_of_an_adapter_equal_those_row_by_row(model_type):
    groups = [make_group(seed, n_hyps=n) for seed, n in enumerate((4, 1, 3))]
    with float64_layers():
        model, base = adapted_decoder(model_type), make_decoder(model_type)
        metrics = policy_backward(model, groups, Grpo(beta=0.3), model, Compute(AUDIO, token_budget=60))
        found = adapter_gradients(model)
        # equation 2 on-policy, row by row, with the KL (k3) to another copy of the base
        total = torch.zeros((), dtype=torch.float64)
        for group in groups:
            own = per_row_log_probs(model, [group], AUDIO)
            with torch.no_grad():
                other = per_row_log_probs(base, [group], AUDIO)
            sizes = torch.tensor(group.lengths)
            advantages = torch.tensor(group.advantages, dtype=torch.float64).repeat_interleave(sizes)
            kl = (other - own).exp() - (other - own) - 1
            per_token = -(own - own.detach()).exp() * advantages + 0.3 * kl
            means = [piece.mean() for piece in per_token.split(group.lengths)]
            total = total + torch.stack(means).mean() / len(groups)
        total.backward()
    assert metrics["loss"] == pytest.approx(float(total.detach()), rel=1e-10)
    assert metrics["kl"] > 1e-3
    assert largest_difference(found, adapter_gradients(model)) < 1e-10


def test_checkpointing_and_offload_change_nothing():
    groups = [make_group(seed, n_hyps=3) for seed in range(3)]
    with float64_layers():
        model = adapted_decoder()
        policy_backward(model, groups, Grpo(), model, Compute(AUDIO))
        expected = adapter_gradients(model)
        policy_backward(model, groups, Grpo(), model, Compute(AUDIO, checkpointing=True, offload=True))
        assert largest_difference(adapter_gradients(model), expected) < 1e-12


def test_a_fresh_adapter_changes_nothing_and_off_is_the_base():
    group = make_group(0, n_hyps=3)
    with float64_layers(), torch.no_grad():
        plain = per_row_log_probs(make_decoder(), [group], AUDIO)
        fresh = make_decoder()
        attach(fresh, LoraSpec(2, 4), seed=0)
        assert torch.equal(per_row_log_probs(fresh, [group], AUDIO), plain)
        model = adapted_decoder()
        assert not torch.allclose(per_row_log_probs(model, [group], AUDIO), plain, atol=1e-2)
        with without_adapter(model):
            assert torch.equal(per_row_log_probs(model, [group], AUDIO), plain)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * len(linear_layers(make_decoder())) and all("lora_" in name for name in trained)


def test_an_adapter_of_low_precision_weights_is_float32():
    model = make_decoder().to(torch.bfloat16)
    attach(model, LoraSpec(2, 4, ("q_proj",)), seed=0)
    assert {parameter.dtype for parameter in adapter_parameters(model).values()} == {torch.float32}
    assert len(adapter_parameters(model)) == 2 * 2  # layers


# ---- folders ------------------------------------------------------------------------------------------------------


def test_the_base_is_linked_and_the_adapter_is_peft_s(start, first):
    first.verify()
    assert first.step == 2 and first.base_version == start.version != first.version
    for file in start.llm_dir.iterdir():
        assert (first.llm_dir / file.name).stat().st_ino == file.stat().st_ino
    assert json.loads((first.adapter_dir / "adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]
    state = load_file(first.state_dir / "optimizer.safetensors")
    assert state and all("lora_" in name for name in state)
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(first.llm_dir, dtype=torch.float32).eval()
    ids = torch.tensor([[1, 7, 8, 9, 20]])
    with torch.no_grad():
        expected = start_llm(first, CPU)(input_ids=ids).logits
        before = base(input_ids=ids).logits
        found = PeftModel.from_pretrained(base, first.adapter_dir)(input_ids=ids).logits
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(before, expected, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "llm/model.safetensors"]
)
def test_an_edited_file_is_noticed(first, tmp_path, name):
    copy = Policy.open(shutil.copytree(first.path, tmp_path / "copy"))
    copy.verify()
    content = bytearray((copy.path / name).read_bytes())
    content[-3] ^= 1
    (copy.path / name).write_bytes(content)
    with pytest.raises(ArlError, match=f"weights in {name.partition('/')[0]}/ .* half-copied or was edited"):
        copy.verify()


def test_an_update_goes_on_with_the_adapter_and_its_base_is_the_reference(start, first, tmp_path):
    shards = make_rl_shards(tmp_path, first)
    second = made(shards, first, tmp_path / "second")  # no --reference: it is the base
    assert second.base_version == start.version and second.step == 4
    record = read_record(second.path)[0]
    assert record["kl"] > 0
    assert record["arguments"]["lora_rank"] == 4 and record["arguments"]["lora_alpha"] == 8
    named = made(shards, first, tmp_path / "named", reference=start.path)
    assert bits(named)["adapter/adapter_model.safetensors"] == bits(second)["adapter/adapter_model.safetensors"]


def test_the_reference_is_the_model_itself(start, first, rl, tmp_path):
    settings = settings_with_adapter(UpdateSettings(), first)
    learner = load_learner(first, UpdateJob(first, start, joined_shards(rl), tmp_path, settings), CPU)
    assert learner.reference is learner.model and all("lora_" in name for name in learner.named)


def test_a_resident_process_gives_the_bits_of_a_cold_one(start, rl, first, tmp_path, monkeypatch):
    from arl.runtime.model_cache import MODEL_CACHE

    shards = make_rl_shards(tmp_path, first)
    cold = made(shards, first, tmp_path / "cold")
    monkeypatch.setattr(MODEL_CACHE, "is_resident", True)
    again = made(rl, start, tmp_path / "again", lora_rank=4, lora_targets="q_proj,v_proj")
    kept = [thing for thing in MODEL_CACHE.entries.values() if isinstance(thing, torch.nn.Module)]
    assert again.version == first.version and len(kept) == 1
    assert (
        bits(made(shards, again, tmp_path / "warm"))["adapter/adapter_model.safetensors"]
        == (bits(cold)["adapter/adapter_model.safetensors"])
    )
    assert MODEL_CACHE.entries and kept[0] in MODEL_CACHE.entries.values()
    MODEL_CACHE.clear()


def test_two_steps_in_one_go_equal_one_and_one(start, sft, tmp_path):
    flags = {"loss": "sft", "lora_rank": 2}
    both = [f"{source}/{{000000..000001}}.tar" for source in sft]
    one_go = made(both, start, tmp_path / "both", **flags)
    one = made([f"{source}/000000.tar" for source in sft], start, tmp_path / "one", **flags)
    two = made([f"{source}/000001.tar" for source in sft], one, tmp_path / "two", loss="sft")
    assert one_go.version == two.version != one.version
    assert bits(one_go)["state/optimizer.safetensors"] == bits(two)["state/optimizer.safetensors"]


def test_a_killed_run_resumes_to_the_same_bits(start, rl, tmp_path):
    flags = {"lora_rank": 2, "epochs": 2, "save_every": 2, "schedule": "cosine"}
    calm = made(rl, start, tmp_path / "calm", **flags)
    out = tmp_path / "rough"
    killed(lambda: made(rl, start, out, **flags), learner_module, "save_state", 2)
    assert Policy.open(tmp_path / ".rough.checkpoint").fields["steps_done"] == 2
    assert bits(made(rl, start, out, **flags)) == bits(calm)


# ---- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"lora_rank": 4, "lora_targets": "q_proj,lm_head"}, "--lora-targets lm_head: the head's logits"),
        ({"lora_rank": 4, "lora_targets": "embed_tokens"}, "--lora-targets embed_tokens: an embedding"),
        ({"lora_rank": 4, "lora_targets": "c_attn"}, "--lora-targets c_attn: none of .*: down_proj, gate_proj, k_proj"),
        ({"lora_alpha": 4}, "belong to --lora-rank"),
    ],
)
def test_targets_and_flags_that_cannot_work_are_one_line(start, rl, tmp_path, flags, line):
    with pytest.raises(UsageError, match=line) as caught:
        made(rl, start, tmp_path / "out", **flags)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"lora_rank": 8}, "--lora-rank 8: the adapter of .* has 4, which a run keeps"),
        ({"lora_alpha": 4}, "--lora-alpha 4: .* has 8,"),
        ({"lora_targets": "q_proj"}, "--lora-targets q_proj: .* has q_proj,v_proj"),
    ],
)
def test_another_adapter_in_mid_run_is_refused(first, rl, tmp_path, flags, line):
    with pytest.raises(UsageError, match=line):
        made(rl, first, tmp_path / "out", **flags)


def test_a_reference_of_other_weights_is_refused(first, rl, tmp_path):
    other = make_tiny_policy(tmp_path / "other", seed=3)
    for reference in (other, first.path):
        with pytest.raises(UsageError, match="with an adapter the reference is its base"):
            made(rl, first, tmp_path / "out", reference=reference)


def test_an_adapter_on_trained_weights_asks_for_a_fresh_optimizer(start, rl, sft, tmp_path):
    trained = made([f"{source}/000000.tar" for source in sft], start, tmp_path / "trained", loss="sft")
    flags = {"lora_rank": 2, "beta": 0.0, "allow_stale": True}
    with pytest.raises(UsageError, match="is of whole weights: --fresh-optimizer begins an adapter"):
        made(rl, trained, tmp_path / "out", **flags)
    adapted = made(rl, trained, tmp_path / "out", **flags, fresh_optimizer=True)
    assert adapted.base_version == trained.version


def test_a_damaged_adapter_is_one_line(first, tmp_path):
    copy = Policy.open(shutil.copytree(first.path, tmp_path / "copy"))
    (Path(copy.adapter_dir) / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ArlError, match="adapter_model.safetensors: missing or damaged"):
        start_llm(copy, CPU)


def test_low_precision_rollouts_are_weighted(tmp_path):
    half, whole = (Policy.open(make_tiny_policy(tmp_path / name)) for name in ("half", "whole"))
    config = half.llm_dir / "config.json"
    config.write_text(config.read_text().replace('"float32"', '"bfloat16"'))
    grpo, mwer = UpdateSettings(lora_rank=2), UpdateSettings(loss="mwer", lora_rank=2)
    assert settings_with_adapter(grpo, half).importance == "truncate"
    assert settings_with_adapter(grpo, whole).importance == settings_with_adapter(mwer, half).importance == "none"
    assert settings_with_adapter(grpo, whole).to_json()["lora_alpha"] == 4
    assert settings_with_adapter(UpdateSettings(), half) == UpdateSettings()
