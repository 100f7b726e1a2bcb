"""A tiny random folder of Qwen3-TTS (CustomVoice) with the names, types and layout of the ones that are downloaded.

    folder = make_qwen3_tts(tmp_path / "Qwen3-TTS")

Widths, layers, codes and codebooks are few; 1024 special rows behind the codes are real.
"""

import json
from pathlib import Path
from typing import Any

CODES, WIDTH, WIDE, INNER, LEVELS, TEXTS = 24, 64, 48, 32, 3, 320
SAMPLES = 48  # of a frame
CODEC = {"codebook_size": CODES, "codebook_dim": 16, "latent_dim": 12, "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 5,
         "layer_scale_initial_scale": 0.01, "rms_norm_eps": 1e-5, "num_quantizers": LEVELS + 1,
         "num_semantic_quantizers": 1, "upsample_rates": [4, 3], "upsampling_ratios": [2, 2], "decoder_dim": 16,
         "rope_theta": 10000, "max_position_embeddings": 8000, "attention_bias": False, "attention_dropout": 0.0,
         "hidden_act": "silu"}  # fmt: skip
SPECIAL = {"eos": 2, "think": 4, "nothink": 5, "think_bos": 6, "think_eos": 7, "pad": 0, "bos": 1}
SPEAKERS, DIALECTS = {"vivian": 900, "eric": 901}, {"vivian": False, "eric": "sichuan_dialect"}
TALKER = {"hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000000,
          "max_position_embeddings": 32768, "attention_bias": False, "attention_dropout": 0,
          "use_sliding_window": False, "sliding_window": None, "vocab_size": CODES + 1024, "text_hidden_size": WIDE,
          "text_vocab_size": TEXTS, "num_code_groups": LEVELS + 1, "position_id_per_seconds": 13,
          "rope_scaling": {"interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default", "type": "default"},
          "model_type": "qwen3_tts_talker"}  # fmt: skip
PREDICTOR = {"hidden_size": INNER, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6,
             "rope_theta": 1000000, "rope_scaling": None, "max_position_embeddings": 65536, "attention_bias": False,
             "use_sliding_window": False, "sliding_window": None, "vocab_size": CODES,
             "num_code_groups": LEVELS + 1, "model_type": "qwen3_tts_talker_code_predictor"}  # fmt: skip


def config() -> dict[str, Any]:
    talker = TALKER | {f"codec_{name}{'_token' if name == 'eos' else ''}_id": CODES + i for name, i in SPECIAL.items()}
    talker |= {"spk_id": {name: CODES + row for name, row in SPEAKERS.items()}, "spk_is_dialect": DIALECTS}
    languages = {"chinese": 55, "english": 50, "sichuan_dialect": 62}
    talker |= {"codec_language_id": {name: CODES + row for name, row in languages.items()}}
    talker["code_predictor_config"] = PREDICTOR
    marks = {f"tts_{name}_token_id": TEXTS - 3 + i for i, name in enumerate(("pad", "bos", "eos"))}
    return {"architectures": ["Qwen3TTSForConditionalGeneration"], "model_type": "qwen3_tts", "talker_config": talker,
            "tokenizer_type": "qwen3_tts_tokenizer_12hz", "tts_model_size": "0b6", "tts_model_type": "custom_voice",
            "im_start_token_id": 256, "im_end_token_id": 257, **marks}  # fmt: skip


def make_qwen3_tts(folder: Path, seed: int = 0) -> Path:
    """Writes the folder; heads are enlarged so that responses differ and end."""
    from safetensors.torch import save_file

    (folder / "speech_tokenizer").mkdir(parents=True)
    save_file(tensors(seed), folder / "model.safetensors", {"format": "pt"})
    codec = {"model_type": "qwen3_tts_tokenizer_12hz", "output_sample_rate": 24000, "decode_upsample_rate": SAMPLES}
    (folder / "speech_tokenizer" / "config.json").write_text(json.dumps(codec | {"decoder_config": CODEC}))
    save_file(codec_tensors(seed), folder / "speech_tokenizer" / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config()))
    generation = {"do_sample": True, "subtalker_temperature": 0.8, "subtalker_top_k": 9, "subtalker_dosample": True}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """vocab.json and merges.txt, and no tokenizer.json."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    words = "<|im_start|>", "<|im_end|>", "assistant", "user"
    added = {str(256 + i): {"content": word, "special": i < 2} for i, word in enumerate(words)}
    fields = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, "processor_class": "Qwen3TTS"}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))


def tensors(seed: int) -> dict[str, Any]:
    """float32, by the checkpoint's names."""
    import torch
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    for prefix, fields in (("talker.model.", TALKER), ("talker.code_predictor.model.", PREDICTOR)):
        own = {name: value for name, value in fields.items() if name not in ("model_type", "rope_scaling")}
        layers = Qwen3Model(Qwen3Config(**own | {"vocab_size": 1})).state_dict()
        found |= {prefix + name: tensor for name, tensor in layers.items() if name != "embed_tokens.weight"}

    def weight(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape)

    rows = CODES + 1024
    found |= {
        "talker.model.codec_embedding.weight": weight(rows, WIDTH), "talker.codec_head.weight": weight(rows, WIDTH) / 4,
        "talker.model.text_embedding.weight": weight(TEXTS, WIDE),
        "talker.text_projection.linear_fc1.weight": weight(WIDE, WIDE) / 5,
        "talker.text_projection.linear_fc1.bias": weight(WIDE),
        "talker.text_projection.linear_fc2.weight": weight(WIDTH, WIDE) / 5,
        "talker.text_projection.linear_fc2.bias": weight(WIDTH),
        "talker.code_predictor.small_to_mtp_projection.weight": weight(INNER, WIDTH) / 8,
        "talker.code_predictor.small_to_mtp_projection.bias": weight(INNER),
    }  # fmt: skip
    for level in range(LEVELS):
        found[f"talker.code_predictor.model.codec_embedding.{level}.weight"] = weight(CODES, WIDTH)
        found[f"talker.code_predictor.lm_head.{level}.weight"] = weight(CODES, INNER) / 4
    return {name: tensor.detach().clone() for name, tensor in sorted(found.items())}


def codec_tensors(seed: int) -> dict[str, Any]:
    """Those of the codec: its decoder's, and one of its encoder."""
    import torch

    from arl.models.qwen3_tts.codec import CodecDecoder

    torch.manual_seed(seed + 1)
    found = {}
    for name, tensor in sorted(CodecDecoder(CODEC).state_dict().items()):
        made = torch.randn(tensor.shape) / max(1, tensor[0].numel()) ** 0.5
        if name.endswith((".alpha", ".beta")) or name.startswith("decoder.4."):  # so that the wave is not cut off
            made = made / 10
        found[f"decoder.{name}"] = made.abs() + 0.5 if name.endswith("cluster_usage") else made
    for part in ("first", "rest"):
        found[f"decoder.quantizer.rvq_{part}.input_proj.weight"] = torch.randn(8, 16, 1)
    return found | {"encoder.downsample.conv.weight": torch.randn(2, 2)}
