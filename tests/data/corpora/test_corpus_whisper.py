"""Whisper in CTranslate2's format becomes a checkpoint that transformers loads: a small one made here, and the real."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from arl.audio.ctranslate2 import read_variables
from arl.audio.whisper import convert
from arl.audio.whisper_packages import packaged_whisper
from arl.errors import ArlError


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def model_file(variables: dict[str, np.ndarray], aliases: dict[str, str]) -> bytes:
    """CTranslate2's format, written after its description in the reader."""
    codes = {np.dtype(np.float32): 0, np.dtype(np.int16): 2, np.dtype(np.float16): 4}
    parts = [struct.pack("<I", 6), string("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, values in variables.items():
        parts += [string(name), struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)]
        parts += [struct.pack("<BI", codes[values.dtype], values.nbytes), values.tobytes()]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [string(alias) + string(name) for alias, name in aliases.items()]
    return b"".join(parts)


def test_reads_variables_and_aliases(tmp_path: Path) -> None:
    values = {"a/weight": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(7, dtype=np.int16)}
    path = tmp_path / "model.bin"
    path.write_bytes(model_file(values, {"b/weight": "a/weight"}))
    found = read_variables(path)
    assert set(found) == {"a/weight", "b/weight", "n"} and int(found["n"]) == 7
    assert np.array_equal(found["b/weight"], values["a/weight"]) and found["a/weight"].dtype == np.float16


def test_a_cut_model_is_refused(tmp_path: Path) -> None:
    whole = model_file({"a": np.arange(6, dtype=np.float32)}, {})
    for size in (0, 3, 20, len(whole) - 6):
        (tmp_path / "model.bin").write_bytes(whole[:size])
        with pytest.raises(ArlError, match="model.bin: not a CTranslate2 model"):
            read_variables(tmp_path / "model.bin")


def fused(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The variables of one layer or stem as CTranslate2 names and fuses them: the converter's inverse."""
    found: dict[str, np.ndarray] = {}

    def put(name: str, *sources: str) -> None:
        weights = [state[f"{prefix}{source}.weight"] for source in sources]
        biases = [state.get(f"{prefix}{source}.bias", np.zeros(len(weights[0]), np.float32)) for source in sources]
        parts = ("gamma", "beta") if "norm" in name else ("weight", "bias")
        found.update({f"{name}/{parts[0]}": np.concatenate(weights), f"{name}/{parts[1]}": np.concatenate(biases)})

    put("self_attention/linear_0", *(f"self_attn.{part}_proj" for part in "qkv"))
    put("self_attention/linear_1", "self_attn.out_proj")
    put("self_attention/layer_norm", "self_attn_layer_norm")
    if f"{prefix}encoder_attn.q_proj.weight" in state:
        put("attention/linear_0", "encoder_attn.q_proj")
        put("attention/linear_1", "encoder_attn.k_proj", "encoder_attn.v_proj")
        put("attention/linear_2", "encoder_attn.out_proj")
        put("attention/layer_norm", "encoder_attn_layer_norm")
    for number in (1, 2):
        put(f"ffn/linear_{number - 1}", f"fc{number}")
    put("ffn/layer_norm", "final_layer_norm")
    return found


def ctranslate2_folder(folder: Path, state: dict[str, np.ndarray], n_layers: int, n_heads: int) -> Path:
    variables = {"encoder/num_heads": np.array(n_heads, np.int16)}
    for name in ("conv1", "conv2"):
        variables |= {f"encoder/{name}/{part}": state[f"model.encoder.{name}.{part}"] for part in ("weight", "bias")}
    for side in ("encoder", "decoder"):
        variables[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        for part, ours in (("gamma", "weight"), ("beta", "bias")):
            variables[f"{side}/layer_norm/{part}"] = state[f"model.{side}.layer_norm.{ours}"]
        for layer in range(n_layers):
            values = fused(state, f"model.{side}.layers.{layer}.")
            variables |= {f"{side}/layer_{layer}/{name}": array for name, array in values.items()}
    variables["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    folder.mkdir()
    (folder / "model.bin").write_bytes(model_file(variables, {}))
    (folder / "config.json").write_text('{"suppress_ids": [3], "suppress_ids_begin": [4], "alignment_heads": [[0, 0]]}')
    special = ["<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>"]
    tokens = [{"content": token, "id": 60 + number} for number, token in enumerate(special)]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    return folder


def test_converted_model_gives_the_same_logits(tmp_path: Path) -> None:
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 2), ("ffn_dim", 64))}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ids = {"decoder_start_token_id": 60, **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 62)}
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=64, d_model=16, **sizes, **heads, **ids)).eval()
    state = {name: values.numpy() for name, values in model.state_dict().items()}
    source = ctranslate2_folder(tmp_path / "source", state, n_layers=2, n_heads=2)
    convert(source, tmp_path / "checkpoint")
    converted = WhisperForConditionalGeneration.from_pretrained(tmp_path / "checkpoint").eval()
    inputs = {"input_features": torch.randn(1, 80, 3000), "decoder_input_ids": torch.tensor([[60, 61, 5]])}
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, converted(**inputs).logits)
    assert converted.generation_config.decoder_start_token_id == 60

    (source / "model.bin").write_bytes(model_file({"encoder/num_heads": np.array(2, np.int16)}, {}))
    with pytest.raises(ArlError, match="do not fit Whisper"):
        convert(source, tmp_path / "other")


@pytest.mark.parametrize(("vocabulary", "languages"), [(51864, None), (51865, {"<|en|>": 50259})])
def test_the_vocabulary_tells_an_english_model_which_has_the_tokens_of_languages_too(vocabulary, languages, tmp_path):
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 32))}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=vocabulary, d_model=8, **sizes, **heads))
    state = {name: values.numpy() for name, values in model.state_dict().items()}
    source = ctranslate2_folder(tmp_path / "source", state, n_layers=1, n_heads=1)
    settings = json.loads((source / "config.json").read_text()) | {"lang_ids": [50259]}
    (source / "config.json").write_text(json.dumps(settings))
    added = json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    for token, number in (("<|en|>", 50259), ("<|translate|>", 50358), ("<|transcribe|>", 50359)):
        added.append({"content": token, "id": number})
    (source / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    convert(source, tmp_path / "checkpoint")
    made = GenerationConfig.from_pretrained(tmp_path / "checkpoint")
    assert getattr(made, "lang_to_id", None) == languages
    assert json.loads((tmp_path / "checkpoint" / "generation_config.json").read_text())["is_multilingual"] is (
        languages is not None
    )


@pytest.mark.registry
@pytest.mark.parametrize(("name", "width"), [("whisper-tiny.en", 384), ("whisper-base", 512)])
def test_checkpoint_hears_a_prompt(name: str, width: int) -> None:
    import torch
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    from arl.audio.io import load
    from arl.data.corpora.asterisk import utterances

    folder = packaged_whisper(name)
    assert json.loads((folder / "config.json").read_text())["d_model"] == width
    processor = AutoProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    clip = next(utterance for utterance in utterances() if utterance.key == "agent-pass")
    features = processor(load(clip.audio), sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        tokens = model.generate(features)
    assert processor.batch_decode(tokens, skip_special_tokens=True)[0].replace(",", "").strip() == clip.text
