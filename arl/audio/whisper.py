"""Whisper in CTranslate2's format → a Hugging Face checkpoint folder.

The weights are renamed and stored as float32; every one must find its place (strict key match), which is the proof that
the conversion is right. arl/audio/whisper_packages.py says where such weights come from.

Imports torch, and transformers when called.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arl.audio.ctranslate2 import read_variables
from arl.errors import ArlError

TRANSCRIBE, TRANSLATE = "<|transcribe|>", "<|translate|>"
MULTILINGUAL_FROM = 51865  # tokens, as openai-whisper tells them; English-only models have the languages' tokens too
START, NO_TIMESTAMPS, END = "<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>"


def convert(source: Path, folder: Path) -> None:
    """Write the Whisper in `source` (model.bin, config.json, tokenizer.json) to `folder` as a Hugging Face checkpoint.

    ArlError for weights that do not fit Whisper.
    """
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    variables = read_variables(source / "model.bin")
    added = json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    tokens = {token["content"]: token["id"] for token in added}
    try:
        vocab_size, width = variables["decoder/embeddings/weight"].shape
        n_heads, n_mels = int(variables["encoder/num_heads"]), variables["encoder/conv1/weight"].shape[1]
        config = WhisperConfig(
            vocab_size=vocab_size,
            d_model=width,
            num_mel_bins=n_mels,
            encoder_layers=_count(variables, "encoder/layer_"),
            decoder_layers=_count(variables, "decoder/layer_"),
            encoder_attention_heads=n_heads,
            decoder_attention_heads=n_heads,
            encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
            decoder_start_token_id=tokens[START],
            bos_token_id=tokens[END],
            eos_token_id=tokens[END],
            pad_token_id=tokens[END],
        )
        model = WhisperForConditionalGeneration(config)
        model.load_state_dict(state_dict(variables, width), strict=True)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ArlError(f"{source}: its weights do not fit Whisper: {error}") from error
    _set_generation(model, json.loads((source / "config.json").read_text()), tokens)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=n_mels).save_pretrained(folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    settings = {
        "tokenizer_class": "WhisperTokenizer",
        "bos_token": END,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "model_max_length": 1024,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def state_dict(variables: dict[str, np.ndarray], width: int) -> dict[str, torch.Tensor]:
    """The weights under Hugging Face's names, float32; the fused query-key-value matrices are split."""
    state: dict[str, torch.Tensor] = {}
    for name in ("conv1", "conv2"):
        _linear(state, variables, f"model.encoder.{name}", f"encoder/{name}")
    for side in ("encoder", "decoder"):
        state[f"model.{side}.embed_positions.weight"] = _tensor(variables, f"{side}/position_encodings/encodings")
        _norm(state, variables, f"model.{side}.layer_norm", f"{side}/layer_norm")
        for index in range(_count(variables, f"{side}/layer_")):
            to, of = f"model.{side}.layers.{index}", f"{side}/layer_{index}"
            _attention(state, variables, f"{to}.self_attn", f"{of}/self_attention", ("q", "k", "v"), width)
            if side == "decoder":
                _attention(state, variables, f"{to}.encoder_attn", f"{of}/attention", ("q",), width)
                _attention(state, variables, f"{to}.encoder_attn", f"{of}/attention", ("k", "v"), width, first=1)
            _linear(state, variables, f"{to}.fc1", f"{of}/ffn/linear_0")
            _linear(state, variables, f"{to}.fc2", f"{of}/ffn/linear_1")
            _norm(state, variables, f"{to}.final_layer_norm", f"{of}/ffn/layer_norm")
    state["model.decoder.embed_tokens.weight"] = _tensor(variables, "decoder/embeddings/weight")
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return state


def _attention(
    state: dict[str, torch.Tensor],
    variables: dict[str, np.ndarray],
    to: str,
    of: str,
    parts: tuple[str, ...],
    width: int,
    first: int = 0,
) -> None:
    """One fused projection (`linear_<first>`: the given parts, stacked), and with it what follows the last one."""
    weight = _tensor(variables, f"{of}/linear_{first}/weight")
    bias = _tensor(variables, f"{of}/linear_{first}/bias")
    for index, part in enumerate(parts):
        rows = slice(index * width, (index + 1) * width)
        state[f"{to}.{part}_proj.weight"] = weight[rows]
        if part != "k":
            state[f"{to}.{part}_proj.bias"] = bias[rows]
        elif bias[rows].abs().max() != 0:
            raise ArlError(f"{of}: a key projection with a bias; Whisper has none")
    if "v" in parts:
        _linear(state, variables, f"{to}.out_proj", f"{of}/linear_{first + 1}")
        _norm(state, variables, f"{to}_layer_norm", f"{of}/layer_norm")


def _linear(state: dict[str, torch.Tensor], variables: dict[str, np.ndarray], to: str, of: str) -> None:
    state[f"{to}.weight"], state[f"{to}.bias"] = (_tensor(variables, f"{of}/{part}") for part in ("weight", "bias"))


def _norm(state: dict[str, torch.Tensor], variables: dict[str, np.ndarray], to: str, of: str) -> None:
    state[f"{to}.weight"], state[f"{to}.bias"] = (_tensor(variables, f"{of}/{part}") for part in ("gamma", "beta"))


def _tensor(variables: dict[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(variables[name].astype(np.float32))


def _count(variables: dict[str, np.ndarray], prefix: str) -> int:
    """Number of layers: the distinct numbers after `prefix` in the names (there also is a `layer_norm`)."""
    parts = {name[len(prefix) :].split("/")[0] for name in variables if name.startswith(prefix)}
    return sum(part.isdigit() for part in parts)


def _set_generation(model: Any, settings: dict[str, Any], tokens: dict[str, int]) -> None:
    """What makes transformers' `generate` write plain English without timestamps."""
    config = model.generation_config
    config.no_timestamps_token_id = tokens[NO_TIMESTAMPS]
    config.suppress_tokens, config.begin_suppress_tokens = settings["suppress_ids"], settings["suppress_ids_begin"]
    config.alignment_heads, config.max_length, config.return_timestamps = settings["alignment_heads"], 448, False
    config.is_multilingual = model.config.vocab_size >= MULTILINGUAL_FROM
    if config.is_multilingual:
        languages = set(settings["lang_ids"])
        config.lang_to_id = {token: number for token, number in tokens.items() if number in languages}
        config.task_to_id = {"transcribe": tokens[TRANSCRIBE], "translate": tokens[TRANSLATE]}
        config.language, config.task = "en", "transcribe"
        config._from_model_config = False  # else transformers leaves the languages out when it reads this
