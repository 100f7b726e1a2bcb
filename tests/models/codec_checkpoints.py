"""Tiny random LMs of a codec's codes and their codecs, with the token names and the layout of real ones."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

LETTERS = [*(chr(number) for number in range(32, 127)), "\n", "。"]
SEMANTIC = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
SCALAR = {  # of a codec of 3^4 codes
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "head_dim": 16,
    "num_key_value_heads": 4, "encoder_hidden_size": 4, "quantization_dim": 96, "quantization_levels": [3, 3, 3, 3],
    "semantic_model_config": SEMANTIC,
}  # fmt: skip
CODES = 81
LLAMA = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
SPEECH = ["<|SPEECH_GENERATION_START|>", "<|SPEECH_GENERATION_END|>"]
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{% if loop.first %}{{ date_string }} {% endif %}{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
)


def make_lm(folder: Path, specials: list[str], codes: Iterable[str], kind: str = "Llama", **named: str) -> Path:
    """A causal LM over letters, specials and codes, in this order of ids. named: of the tokenizer."""
    import transformers
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    torch.manual_seed(0)
    codes = list(codes)
    words = [*LETTERS, *specials, *codes]
    fast = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=" "))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    fast.decoder = decoders.Fuse()
    fast.add_special_tokens(specials)
    fast.add_tokens(codes)
    if named:
        names = {"bos_token": specials[0], "eos_token": specials[1], **named}
        transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **names).save_pretrained(folder)
    else:  # much faster where there are many codes
        folder.mkdir()
        fast.save(str(folder / "tokenizer.json"))
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(words), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=len(LETTERS), eos_token_id=len(LETTERS) + 1, tie_word_embeddings=True,
    )  # fmt: skip
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    return folder


def make_llasa(folder: Path) -> Path:
    specials = [*LLAMA, "<|TEXT_UNDERSTANDING_START|>", "<|TEXT_UNDERSTANDING_END|>", *SPEECH]
    return make_lm(folder, specials, (f"<|s_{number}|>" for number in range(CODES)), chat_template=CHAT)


def make_neutts(folder: Path) -> Path:
    specials = ["<|endoftext|>", "<|im_end|>", "<|TEXT_PROMPT_START|>", "<|TEXT_PROMPT_END|>", *SPEECH]
    return make_lm(folder, specials, (f"<|speech_{number}|>" for number in range(CODES)), "Qwen2")


def make_outetts(folder: Path) -> Path:
    """As in Llama-OuteTTS-1.0-1B, each codebook has 1025 tokens, the second's behind the first's."""
    marks = ("text_start", "text_end", "audio_start", "audio_end", "word_start", "word_end", "features", "code")
    features = (f"<|{name}_{n}|>" for name in ("energy", "spectral_centroid", "pitch") for n in range(3))
    specials = ["<|im_start|>", "<|im_end|>", *(f"<|{mark}|>" for mark in marks), *features, "<|t_0.20|>", "<|t_1.50|>"]
    return make_lm(folder, specials, (f"<|c{level}_{number}|>" for level in (1, 2) for number in range(1025)))


def make_orpheus(folder: Path) -> Path:
    """As in orpheus-3b, <custom_token_0> … stand behind Llama's vocabulary; the last are spare."""
    return make_lm(folder, LLAMA, (f"<custom_token_{number}>" for number in range(10 + 7 * 4096 + 3)))


def make_xcodec2(folder: Path) -> Path:
    from transformers import Xcodec2Config, Xcodec2FeatureExtractor, Xcodec2Model

    return save(Xcodec2Model, Xcodec2Config(**SCALAR), Xcodec2FeatureExtractor(), folder)


def make_neucodec(folder: Path) -> Path:
    from transformers import NeuCodecConfig, NeuCodecFeatureExtractor, NeuCodecModel

    return save(NeuCodecModel, NeuCodecConfig(**SCALAR), NeuCodecFeatureExtractor(), folder)


def make_dac(folder: Path, n_codebooks: int = 2) -> Path:
    """As the 24 kHz model for speech has it, 320 samples a frame."""
    from transformers import DacConfig, DacFeatureExtractor, DacModel

    config = DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 4, 5, 8], decoder_hidden_size=32, n_codebooks=n_codebooks,
        codebook_size=1024, sampling_rate=24_000,
    )  # fmt: skip
    return save(DacModel, config, DacFeatureExtractor(sampling_rate=24_000), folder)


def save(model: Any, config: Any, features: Any, folder: Path) -> Path:
    torch.manual_seed(1)
    model(config).save_pretrained(folder)
    features.save_pretrained(folder)
    return folder


def make_snac(folder: Path, strides: tuple[int, ...] = (4, 2, 1)) -> Path:
    """snac_24khz but for its widths; the weights are a pickle of tensors, as they are downloaded."""
    from snac import SNAC

    torch.manual_seed(1)
    config = {
        "sampling_rate": 24_000, "encoder_dim": 4, "encoder_rates": [2, 4, 8, 8], "decoder_dim": 32,
        "decoder_rates": [8, 8, 4, 2], "attn_window_size": None, "codebook_size": 4096, "codebook_dim": 8,
        "vq_strides": list(strides), "noise": True, "depthwise": True,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(SNAC(**config).state_dict(), folder / "pytorch_model.bin")
    return folder
