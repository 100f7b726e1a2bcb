"""Tiny decoders whose every operation is float64, and random groups for them: what exactness is tested on.

transformers computes RMSNorm and rotary embeddings in float32 whatever the weights are; `float64_layers` patches both.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from arl.train.attention import use_shared_attention
from arl.train.groups import PromptGroup

VOCABULARY, HIDDEN = 40, 32
AUDIO = 4
FAMILIES = ("Qwen2", "Qwen3", "Llama", "Mistral")


def norm(self: Any, x: Tensor) -> Tensor:
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def rotary(self: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    angles = position_ids[..., None].to(x.dtype) * self.inv_freq.to(x.dtype)
    both = torch.cat((angles, angles), dim=-1)
    return both.cos() * self.attention_scaling, both.sin() * self.attention_scaling


@contextmanager
def float64_layers() -> Iterator[None]:
    with ExitStack() as stack:
        for name in FAMILIES:
            module = import_module(f"transformers.models.{name.lower()}.modeling_{name.lower()}")
            for layer, function in (("RMSNorm", norm), ("RotaryEmbedding", rotary)):
                stack.enter_context(mock.patch.object(getattr(module, name + layer), "forward", function))
        yield


def make_decoder(model_type: str = "qwen2", seed: int = 0, attention: bool = True, **settings: Any) -> Any:
    """A float64 causal LM with random weights, and with the attention that the trainer gives it unless told."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type, vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, head_dim=8, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        **{"tie_word_embeddings": True, "num_key_value_heads": 2, **settings},
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + noise if "norm" in name else noise)
    return use_shared_attention(model) if attention else model


def make_group(
    seed: int, n_hyps: int, n_clips: int = 1, longest: int = 6, audio_token_id: int = AUDIO, prompt_length: int = 0
) -> PromptGroup:
    """Random token ids (never the placeholder), clips of 1 to 9 embeddings, responses of 1 to `longest` tokens."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def tokens(n: int) -> list[int]:
        return [rng.randrange(AUDIO + 1, VOCABULARY) for _ in range(n)]

    prompt = tokens(prompt_length or rng.randint(1, 4))
    for _ in range(n_clips):
        prompt += [audio_token_id, *tokens(rng.randint(0, 3))]
    shapes = [(rng.randint(1, 9), HIDDEN) for _ in range(n_clips)]
    return PromptGroup(
        key=f"utt-{seed}",
        prompt=torch.tensor(prompt),
        clips=[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes],
        responses=[torch.tensor(tokens(rng.randint(1, longest))) for _ in range(n_hyps)],
        advantages=[rng.gauss(0, 1) for _ in range(n_hyps)],
    )


def gradients(model: Any) -> dict[str, Tensor]:
    """The gradients of all parameters by name, taken away from the model."""
    taken = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return taken


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """max |Δ| over all gradients, relative to the largest entry of each; every gradient must be there."""
    assert found.keys() == expected.keys()
    assert all(gradient is not None for gradient in (*found.values(), *expected.values()))
    return max(
        float((found[name] - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1e-30))
        for name in expected
    )
