"""The decoders that policies have: log-probabilities are those of transformers' own forward, or are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from arl.errors import ArlError
from arl.train import attention
from arl.train.groups import PromptGroup
from arl.train.load import head_bias, load_llm
from arl.train.logprobs import LogitRule
from arl.train.shared_prefix import check_decoder, check_lengths, is_packed, self_check, shared_log_probs
from tests.decoders import DECODERS, LONG_ROPE
from tests.tiny import AUDIO, HIDDEN, PROMPT, make_tiny_policy


def load(folder: Path, model_type: str, **settings: Any) -> Any:
    policy = make_tiny_policy(
        folder / model_type, model_type=model_type, **{**DECODERS.get(model_type, {}), **settings}
    )
    return load_llm(policy / "llm", torch.device("cpu"))


def group_of(frames: int = 40, lengths: tuple[int, ...] = (9, 30, 1)) -> PromptGroup:
    generator = torch.Generator().manual_seed(0)
    responses = [torch.randint(5, HIDDEN // 2, (length,), generator=generator) for length in lengths]
    clip = 0.3 * torch.randn(frames, HIDDEN, generator=generator)
    return PromptGroup(f"utt{frames}", torch.tensor(PROMPT), [clip], responses, [0.0] * len(responses))


def plain_log_probs(model: Any, group: PromptGroup) -> torch.Tensor:
    """By transformers' own class and attention, one response at a time: [N]."""
    table, scores = model.get_input_embeddings(), []
    with torch.no_grad():
        for response in group.responses:
            prompt = torch.cat([table(group.prompt[:1]), group.clips[0], table(group.prompt[2:])])
            logits = model(inputs_embeds=torch.cat([prompt, table(response)])[None]).logits[0, len(prompt) - 1 : -1]
            scores.append(logits.log_softmax(-1).gather(-1, response[:, None])[:, 0])
    return torch.cat(scores)


@pytest.mark.parametrize("model_type", DECODERS)
def test_log_probs_are_those_of_transformers_own_forward(tmp_path: Path, model_type: str) -> None:
    from transformers import AutoModelForCausalLM

    model = load(tmp_path, model_type)
    groups = [group_of(), group_of(25, (4, 7))]
    own = AutoModelForCausalLM.from_pretrained(tmp_path / model_type / "llm", attn_implementation="eager")
    if (bias := head_bias(tmp_path / model_type / "llm")) is not None:
        own.lm_head.bias = torch.nn.Parameter(bias)
    expected = torch.cat([plain_log_probs(own, group) for group in groups])
    found = shared_log_probs(model, groups, AUDIO).log_probs.detach()
    assert float((found - expected).abs().max()) < 1e-5
    assert self_check(model, groups, AUDIO, 1e-5) < 1e-5
    assert is_packed(model) == (model_type not in ("mistral", "phi3"))


def test_a_window_behind_the_last_position_packs(tmp_path: Path) -> None:
    assert is_packed(load(tmp_path, "mistral", sliding_window=4096))
    assert attention.packs(load(tmp_path / "short", "mistral"))


def test_an_output_bias_is_trained_and_saved(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    shared_log_probs(model, [group_of()], AUDIO).log_probs.sum().backward()
    assert model.lm_head.bias.grad.abs().max() > 0
    model.save_pretrained(tmp_path / "next")
    saved = head_bias(tmp_path / "next")
    assert saved is not None and saved.equal(model.lm_head.bias)
    assert head_bias(make_tiny_policy(tmp_path / "none") / "llm") is None


@pytest.mark.parametrize("rope", [LONG_ROPE, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}])
def test_sequences_beyond_the_ropes_turn_are_refused(rope: dict[str, Any]) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model("llama", rope_parameters=rope, max_position_embeddings=128)
    config.original_max_position_embeddings = 128
    check_lengths(config, [group_of(96, (30,))])
    with pytest.raises(ArlError, match="utt97: 129 positions, but the rope of this llama turns .* behind 128"):
        check_lengths(config, [group_of(20), group_of(97, (30, 2))])


def test_both_sides_of_the_turn_differ(tmp_path: Path) -> None:
    """Why they are refused: the same short sequence has other log-probabilities beside a long one."""
    short = load(tmp_path, "phi3")
    turned = load(tmp_path / "turned", "phi3", original_max_position_embeddings=16)
    difference = (plain_log_probs(short, group_of()) - plain_log_probs(turned, group_of())).abs().max()
    assert difference > 1e-2


def test_capped_attention_is_refused() -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model("gemma2", attention_dropout=0.0)
    with pytest.raises(ArlError, match="gemma2: attn_logit_softcapping"):
        check_decoder(config)


def test_what_each_class_does_to_its_logits() -> None:
    from transformers import AutoConfig

    assert LogitRule.of(AutoConfig.for_model("qwen2")) == LogitRule()
    assert LogitRule.of(AutoConfig.for_model("granite", logits_scaling=8.0)) == LogitRule(scale=0.125)
    assert LogitRule.of(AutoConfig.for_model("cohere", logit_scale=0.0625)) == LogitRule(scale=0.0625)
    assert LogitRule.of(AutoConfig.for_model("gemma2", final_logit_softcapping=30.0)) == LogitRule(softcap=30.0)
