"""Random models of given shapes, groups of random tokens, and policy folders of them: what the scripts compute on.

Random weights cost what trained ones cost. Token counts are exact: the stop token and the audio placeholder of these
policies lie beyond the vocabulary, so every response has the length asked for. torch is imported inside functions.
"""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arl.planning.shape import Shape as Sizes

if TYPE_CHECKING:
    from arl.train.groups import PromptGroup

PROMPT_TEXT = 2  # tokens around the clip


class Shape(Sizes):
    """A Qwen2 configuration, with two tokens beyond its vocabulary."""

    @property
    def audio_token_id(self) -> int:
        return self.vocab

    @property
    def eos_token_id(self) -> int:
        return self.vocab + 1

    def words(self) -> str:
        return f"Qwen2, {super().words()}"


TINY = Shape("tiny", 64, 2, 4, 2, 128, 40)
SMALL = Shape("small", 256, 4, 4, 2, 1024, 32)
LARGER = Shape("larger", 512, 6, 8, 4, 2048, 4096)
QWEN2_05B = Shape("0.5B", 896, 24, 14, 2, 4864, 151936)
QWEN2_7B = Shape("7B", 3584, 28, 28, 4, 18944, 152064, tied=False)


def widened(shape: Shape, **changes: Any) -> Shape:
    """The shape with other sizes, named after them."""
    return replace(shape, name=f"{shape.name} {changes}", **changes)


def make_config(shape: Shape) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192, tie_word_embeddings=shape.tied, bos_token_id=None, eos_token_id=None,
        pad_token_id=None, architectures=["Qwen2ForCausalLM"],
    )  # fmt: skip


def make_model(shape: Shape, seed: int = 0, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """A causal LM in evaluation mode, as `arl update` loads one; rows without a shared prompt get stock attention."""
    import torch
    from transformers import AutoModelForCausalLM

    from arl.train.attention import use_shared_attention

    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            make_config(shape), dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    return use_shared_attention(model.eval())


def make_pair(shape: Shape) -> tuple[Any, Any]:
    """(policy, frozen reference), float32 on the CPU, with different weights so that the KL has a gradient."""
    return make_model(shape, 0), make_model(shape, 1).requires_grad_(False)


def make_groups(shape: Shape, n: int, prompt: int, response: int, group: int, seed: int = 0) -> "list[PromptGroup]":
    """n groups: a prompt of `prompt` positions, one clip with PROMPT_TEXT tokens around it; `group` responses of
    `response` random tokens; advantages of zero mean."""
    import torch

    from arl.train.groups import PromptGroup

    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    made = []
    for index in range(n):
        advantages = [rng.gauss(0, 1) for _ in range(group)]
        made.append(
            PromptGroup(
                key=f"utt-{index}",
                prompt=torch.tensor([1, shape.audio_token_id, 2]),
                clips=[0.02 * torch.randn(prompt - PROMPT_TEXT, shape.hidden, generator=generator)],
                responses=list(torch.randint(shape.vocab, (group, response), generator=generator)),
                advantages=[value - sum(advantages) / group for value in advantages],
            )
        )
    return made


def make_policy(folder: Path, shape: Shape, seed: int = 0, dtype: str = "float32", device: str = "cpu") -> Path:
    """Writes a policy folder without a frontend; its tokenizer has one word, `w<id>`, per token."""
    from arl.policy import write_policy
    from arl.runtime.device import quiet_transformers
    from arl.train.probe import make_probe

    quiet_transformers()
    model = make_model(shape, seed, dtype=dtype, device=device)
    fields = {
        "family": "benchmark", "step": 0, "prompt": [1, shape.audio_token_id, 2], "frontend": "",
        "audio_token_id": shape.audio_token_id, "eos_token_id": shape.eos_token_id, "embedding_dim": shape.hidden,
        "embedding_rate_hz": 25.0, "sample_rate": 16_000, "probe": make_probe(model, shape.audio_token_id),
    }  # fmt: skip

    def fill(temporary: Path) -> None:
        model.save_pretrained(temporary / "llm")
        save_tokenizer(temporary / "llm", shape.vocab)

    return write_policy(folder, fields, fill).path


def save_tokenizer(folder: Path, vocab: int) -> None:
    """tokenizer.json: words `<pad>`, `<eos>`, w2 … w<vocab-1>, split at spaces."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(2, vocab))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
