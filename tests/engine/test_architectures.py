"""Every decoder that a policy can have, served: greedy ids are those of transformers, log-probabilities the trainer's.

One start each, on a random policy with two end ids; the checkpoint of another engine start is a weight update.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_place import Place

from arl.engine import server
from arl.engine.architectures import sglang_module
from arl.engine.client import CompletionGroup, Engine, GroupFailed
from arl.engine.flags import server_environment, server_flags
from arl.engine.longest import longest_exact
from arl.engine.served_model import ServedModel
from arl.engine.sglang_models import ARCHITECTURE
from arl.errors import ArlError
from arl.policy import Policy
from arl.train.groups import PromptGroup
from arl.train.load import causal_lm, load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.decoders import DECODERS
from tests.tiny import AUDIO, EOS, PROMPT, make_tiny_policy

ENDS = [EOS, 9, 12]
STEPS = 24


def read(clip: dict[str, Any]) -> torch.Tensor:
    count = clip["shape"][0] * clip["shape"][1]
    raw = np.fromfile(clip["path"], dtype=np.float32, count=count, offset=clip["offset"])
    return torch.from_numpy(raw.reshape(clip["shape"]))


def generate(engine: Engine, *requests: dict[str, Any]) -> list[CompletionGroup]:
    async def all_at_once() -> list[CompletionGroup]:
        async with engine:
            jobs = (engine.generate_group(PROMPT, **request, max_new_tokens=STEPS) for request in requests)
            return await asyncio.gather(*jobs)

    return asyncio.run(all_at_once())


def greedy_ids(model: Any, clip: torch.Tensor) -> list[int]:
    """By transformers' own generate, from the prompt with the clip in it."""
    table = model.get_input_embeddings()
    prompt = torch.cat([table(torch.tensor(PROMPT[:1])), clip, table(torch.tensor(PROMPT[2:]))])
    with torch.no_grad():
        return model.generate(inputs_embeds=prompt[None], max_new_tokens=STEPS, do_sample=False, eos_token_id=ENDS,
                              pad_token_id=0)[0].tolist()  # fmt: skip


def check(engine: Engine, llm_dir: Path, clips: Sequence[dict[str, Any]]) -> None:
    """Greedy and sampled groups of one policy against transformers and the trainer."""
    sampled = generate(engine, *({"audio": [clip], "seeds": range(4)} for clip in clips))
    chosen = generate(engine, *({"audio": [clip], "greedy": True} for clip in clips))
    own, trained = causal_lm(llm_dir, torch.float32).eval(), load_llm(llm_dir, torch.device("cpu"))
    for clip, group, greedy in zip(clips, sampled, chosen, strict=True):
        assert greedy.hypotheses[0].tokens == greedy_ids(own, read(clip))
        responses = [torch.tensor(hyp.tokens) for hyp in group.hypotheses]
        row = PromptGroup("utt", torch.tensor(PROMPT), [read(clip)], responses, [0.0] * len(responses))
        expected = shared_log_probs(trained, [row], AUDIO).log_probs.detach()
        found = torch.tensor([value for hyp in group.hypotheses for value in hyp.logprobs])
        assert float((found - expected).abs().max()) < 1e-4
        for hyp in group.hypotheses:
            assert not set(hyp.tokens[:-1]) & set(ENDS)
            assert (hyp.tokens[-1] in ENDS) == (hyp.finish == "stop")
    ends = {hyp.tokens[-1] for group in sampled for hyp in group.hypotheses if hyp.finish == "stop"}
    assert len(ends) > 1


@pytest.mark.engine
@pytest.mark.parametrize("model_type", [name for name in DECODERS if name != "qwen2"])  # which the other tests have
def test_a_decoder_is_served_as_it_is_trained(place: Place, tmp_path: Path, model_type: str) -> None:
    settings = {"model_type": model_type, "ends": ENDS, **DECODERS[model_type]}
    first, second = (make_tiny_policy(tmp_path / str(seed), seed=seed, **settings) for seed in (0, 1))
    engine = Engine(server.start(first, tmp_path / "state", device="cpu"))
    try:
        check(engine, first / "llm", place.audio[:5])
        engine.update_weights(ServedModel.of(Policy.open(second)))
        check(engine, second / "llm", place.audio[2:4])
        refuses_what_is_too_long(engine, place, ServedModel(first / "llm", "").longest)
    finally:
        server.stop(tmp_path / "state")


def refuses_what_is_too_long(engine: Engine, place: Place, longest: int | None) -> None:
    prompt = [*PROMPT[:1], *[AUDIO] * 4, *PROMPT[2:]]  # 162 positions

    async def ask() -> Any:
        async with engine:
            return await engine.generate_group(prompt, [place.audio[3]] * 4, max_new_tokens=1)

    if longest is None:
        assert asyncio.run(ask()).prompt_tokens == 162
    else:
        with pytest.raises(GroupFailed, match="longer than"):
            asyncio.run(ask())


def test_sglangs_classes_are_found_by_their_name() -> None:
    found = {name: sglang_module(name) for name in ("Qwen2ForCausalLM", "Phi3ForCausalLM", "MistralForCausalLM")}
    assert list(found.values()) == [f"sglang.srt.models.{file}" for file in ("qwen2", "llama", "mistral")]
    assert sglang_module("LlamaModel") is None  # defined there, and not offered
    assert sglang_module("NoSuchForCausalLM") is None


def test_what_the_server_is_told(tmp_path: Path) -> None:
    phi3, llama = (
        ServedModel(make_tiny_policy(tmp_path / name, model_type=name, **DECODERS[name]) / "llm", "v")
        for name in ("phi3", "llama")
    )
    assert phi3.overrides == {"architectures": ["ArlPhi3ForCausalLM"], "partial_rotary_factor": 0.5}
    assert llama.overrides == {"architectures": ["ArlLlamaForCausalLM"], "arl_head_bias": True}
    flags = server_flags(phi3, AUDIO, "cpu", 1, None, None)
    assert flags[flags.index("--context-length") + 1] == "128"
    assert "--context-length" not in server_flags(llama, AUDIO, "cpu", 1, None, None)
    assert server_environment(phi3, "cpu", tmp_path)[ARCHITECTURE] == "Phi3ForCausalLM"


@pytest.mark.parametrize("name", ["BertModel", "Qwen2AudioForConditionalGeneration", "RwkvForCausalLM", ""])
def test_what_is_no_causal_lm_of_sglang_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"architectures": ["{name}"]}}')
    with pytest.raises(ArlError, match=f"it has no '{name}'$"):
        _ = ServedModel(tmp_path, "").architecture


def test_capped_attention_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["Gemma2ForCausalLM"], "attn_logit_softcapping": 50.0}')
    with pytest.raises(ArlError, match="attn_logit_softcapping"):
        _ = ServedModel(tmp_path, "").architecture


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "qwen2", "sliding_window": 4096}, None),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}, 4096),
        ({"model_type": "qwen3", "sliding_window": 10, "use_sliding_window": True, "layer_types": ["full"]}, None),
        ({"model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 32768}, 4096),
        ({"model_type": "phi3", "sliding_window": 262144, "max_position_embeddings": 131072}, None),
        ({"rope_scaling": {"type": "su"}, "original_max_position_embeddings": 4096}, 4096),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096, "sliding_window": 9}, 9),
        ({"rope_parameters": {"rope_type": "dynamic"}, "max_position_embeddings": 2048}, 2048),
        ({"rope_parameters": {"rope_type": "llama3"}, "max_position_embeddings": 2048, "sliding_window": None}, None),
    ],
)  # fmt: skip
def test_up_to_which_length_nothing_differs(config: dict[str, Any], limit: int | None) -> None:
    assert longest_exact(config) == limit
