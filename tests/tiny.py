"""A random policy of a few kilobytes, the same bytes for the same seed: what the tests serve and train.

Left out: a frontend; embeddings in tests are random numbers.

    policy = make_tiny_policy(tmp_path / "policy", seed=0)
"""

import json
from pathlib import Path
from typing import Any

from arl.policy import write_policy

PAD, BOS, EOS, ASR, AUDIO = range(5)
SPECIALS = ["<pad>", "<s>", "</s>", "<asr>", "<audio>"]
SYMBOLS = [*SPECIALS, " ", *"abcdefghijklmnopqrstuvwxyz", "'"]
VOCABULARY = 40
HIDDEN = 64
PROMPT = [BOS, AUDIO, ASR]


def make_tiny_policy(
    folder: Path,
    *,
    seed: int = 0,
    model_type: str = "qwen2",
    hidden: int = HIDDEN,
    layers: int = 2,
    scale: float = 0.2,
    step: int = 0,
    ends: int | list[int] = EOS,
    head_bias: bool = False,
    **settings: Any,
) -> Path:
    """Write a policy folder: a float32 causal LM (qwen2, llama, …) with random weights of standard
    deviation `scale` (large enough that responses vary and end) and a character tokenizer.

    settings: of the LM's configuration. head_bias: with a random lm_head.bias."""

    def fill(temporary: Path) -> None:
        save_model(temporary / "llm", seed, model_type, hidden, layers, scale, head_bias, **settings)
        save_tokenizer(temporary / "llm")

    fields = {
        "family": "toy",
        "step": step,
        "audio_token_id": AUDIO,
        "eos_token_id": ends,
        "prompt": PROMPT,
        "frontend": "",
        "embedding_dim": hidden,
        "sample_rate": 16_000,
        "probe": {},
    }
    return write_policy(folder, fields, fill).path


def save_model(
    llm_dir: Path,
    seed: int,
    model_type: str,
    hidden: int,
    layers: int,
    scale: float,
    head_bias: bool = False,
    **settings: Any,
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": hidden // 4,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
            "dtype": "float32",
            **settings,
        },
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    if head_bias:
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(1 + 0.1 * noise if "norm" in name else noise)
    model.save_pretrained(llm_dir)


def save_tokenizer(llm_dir: Path) -> None:
    """tokenizer.json: one token per character, the specials as whole tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(SYMBOLS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(llm_dir / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "bos_token": "<s>"}
    settings |= {"eos_token": "</s>", "clean_up_tokenization_spaces": False}
    (llm_dir / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
