"""A speech LLM after an update, back in its own layout: bytes that stay, an adapter merged, a LoRA taken out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from arl.cli.update import update
from arl.models import InitOptions, families
from arl.models.checkpoint import Checkpoint
from arl.models.convert import export_policy
from arl.models.speech_lm.prompt import Ask, collapse
from arl.policy import Policy
from tests.models.speech_checkpoints import END, make_checkpoint
from tests.models.speech_lm_case import build, contents, full_scale, load_llm, prompt_embeddings
from tests.train.columns import make_rl_shards


@pytest.mark.parametrize("name", ["qwen3-asr", "qwen2-audio", "glm-asr", "phi-4-multimodal", "granite-speech"])
def test_an_update_that_changes_nothing_exports_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Of a bfloat16 checkpoint, for each architecture of LLM: embeddings, an update with --lr 0, export."""
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint", dtype="bfloat16")
    policy = build(checkpoint, tmp_path / "policy")
    one_end = Policy(policy.path, {**policy.fields, "eos_token_id": END})
    shards = make_rl_shards(tmp_path / "rl", one_end, shards=1, utterances=2)
    update(shards, policy.path, tmp_path / "next", lr=0.0, device="cpu", threads=1)
    updated = Policy.open(tmp_path / "next")
    assert updated.step == 1 and updated.fields["request"] == policy.fields["request"]
    families()[name].export(updated, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(checkpoint)


@pytest.mark.parametrize("name", ["qwen2-audio", "granite-speech"])  # the second has a LoRA of its own
def test_a_trained_adapter_is_merged_into_what_transformers_loads(cases: Any, name: str, tmp_path: Path) -> None:
    from arl.train.lora import start_llm

    case = cases(name)
    shards, out = make_rl_shards(tmp_path, case.policy, shards=1), tmp_path / "next"
    update(shards=shards, policy=case.policy.path, out=out, lora_rank=2, lr=0.1, threads=1, device="cpu")
    export_policy(out, tmp_path / "merged", slim=False, dtype="float32", merge=True)
    inputs = case.family.inputs(case.processor, case.wave(1.3), Ask())
    llm = start_llm(Policy.open(out), torch.device("cpu"))
    ids = collapse(inputs["input_ids"][0].tolist(), case.policy.audio_token_id)
    row = prompt_embeddings(llm, ids, case.tower.encode(inputs, 7), case.policy.audio_token_id)
    with torch.no_grad():
        wanted, before = (model(inputs_embeds=row[None]).logits[0] for model in (llm, load_llm(case.policy.llm_dir)))
    found = case.logits(case.full(tmp_path / "merged"), inputs)
    assert float((found - wanted * full_scale(llm)).abs().max()) <= 1e-5 < 1e-2 < float((wanted - before).abs().max())


def add_adapter(folder: Path, names: list[str], rank: int = 4) -> dict[str, torch.Tensor]:
    """Writes a LoRA as peft does; its change of each weight [64, 64], by name."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    weights, changes = {}, {}
    for name in names:
        a, b = torch.randn(rank, 64, generator=generator) * 0.1, torch.randn(64, rank, generator=generator) * 0.1
        weights[f"base_model.model.{name}.lora_A.weight"], weights[f"base_model.model.{name}.lora_B.weight"] = a, b
        changes[f"{name}.weight"] = 2.0 * (b @ a)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj", "o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return changes


@pytest.mark.parametrize(
    ("name", "place", "prefix"),
    [("granite-speech", "", "model.language_model"), ("phi-4-multimodal", "speech-lora", "model")],
)
def test_a_lora_is_merged_and_taken_out_again(name: str, place: str, prefix: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint", dtype="bfloat16")
    layers = [f"{prefix}.layers.{layer}.self_attn.o_proj" for layer in (0, 1)]
    changes = add_adapter(checkpoint / place, layers)
    family: Any = families()[name]
    policy = family.build(Checkpoint(str(checkpoint)), tmp_path / "policy", InitOptions())
    whole = family.model_class.from_pretrained(checkpoint, dtype=torch.float32).state_dict()
    full = {key.replace(".base_layer", ""): tensor for key, tensor in whole.items()}  # as peft wraps what it adapts
    llm = load_llm(policy.llm_dir).state_dict()
    for full_name, change in changes.items():
        merged = (full[full_name] + change).bfloat16().float()
        assert torch.equal(llm["model" + full_name.removeprefix(prefix)], merged)
    family.export(policy, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(checkpoint)
