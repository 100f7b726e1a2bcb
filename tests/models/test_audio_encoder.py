"""Any audio encoder + a fresh projector + any causal LM, on tiny random checkpoints of transformers' own classes."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from arl.audio.io import encode_flac
from arl.cli.main import make_app
from arl.errors import ArlError, UsageError
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.writer import write_shard

LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLVED = {
    **LAYERS, "conv_dim": [16] * 3, "conv_kernel": [10, 8, 4], "conv_stride": [8, 8, 5], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
MOONSHINE = {"hidden_size": 32, "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1, "intermediate_size": 32,
             "encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2, "vocab_size": 40}  # fmt: skip
KINDS = {  # the class as published, its configuration, where the encoder is in it
    "wav2vec2": ("Wav2Vec2ForCTC", "Wav2Vec2Config", CONVOLVED, "wav2vec2"),
    "hubert": ("HubertModel", "HubertConfig", CONVOLVED, ""),
    "wavlm": ("WavLMModel", "WavLMConfig", CONVOLVED, ""),
    "moonshine": ("MoonshineForConditionalGeneration", "MoonshineConfig", MOONSHINE, "model.encoder"),
}


def wave(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))).astype(np.float32)


def extractor_of(kind: str) -> Any:
    import transformers

    return transformers.Wav2Vec2FeatureExtractor(return_attention_mask=kind == "wavlm")


def make_checkpoint(kind: str, folder: Path) -> Any:
    import transformers

    torch.manual_seed(0)
    model_class, config_class, fields, _ = KINDS[kind]
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**fields)).eval()
    model.save_pretrained(folder)
    extractor_of(kind).save_pretrained(folder)
    return model


def own_frames(kind: str, model: Any, clip: np.ndarray) -> torch.Tensor:
    """What transformers computes of a clip alone."""
    inputs = dict(extractor_of(kind)(clip, sampling_rate=16_000, return_tensors="pt"))
    features = {name: value for name, value in inputs.items() if name.startswith("input_")}
    with torch.no_grad():
        return model.get_submodule(KINDS[kind][3])(**features).last_hidden_state[0]


def arl(*words: object) -> None:
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_projector_and_llm(kind: str, tmp_path: Path) -> None:
    from arl.models.audio_encoder import frontend

    model = make_checkpoint(kind, tmp_path / "checkpoint")
    arl("init", "--from", tmp_path / "checkpoint", "--llm", "new:64x1", "--stack", 2, "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    policy.verify()
    ours = frontend.load(policy.frontend_dir)
    assert ours.digest() == policy.frontend_id
    clip = wave(1.7)
    (frames,) = ours.features([clip])
    wanted = own_frames(kind, model, clip)
    assert frames.shape == wanted.shape and float((frames - wanted).abs().max()) < 1e-5
    assert policy.fields["embedding_rate_hz"] == pytest.approx(len(frames) / 1.7 / 2, rel=0.1)
    row = {"flac": encode_flac(clip, 16_000), columns.META: columns.dumps({"text": "one"})}
    write_shard(tmp_path / "data" / "000000.tar", [("a", row)])
    arl("encode", "--shards", tmp_path / "data", "--policy", policy.path, "-o", tmp_path / "emb", "--device", "cpu")
    (sample,) = read_shard(tmp_path / "emb" / "000000.tar")
    assert columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR)["shape"] == [len(frames) // 2, 64]


def test_an_encoder_needs_an_llm(tmp_path: Path) -> None:
    make_checkpoint("hubert", tmp_path / "checkpoint")
    with pytest.raises(UsageError, match="a hubert has an encoder, and no LLM to train: name one with --llm"):
        arl("init", "--from", tmp_path / "checkpoint", "-o", tmp_path / "policy")


def test_an_encoder_with_missing_weights_is_refused(tmp_path: Path) -> None:
    make_checkpoint("hubert", tmp_path / "checkpoint")
    file = tmp_path / "checkpoint" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop("encoder.layer_norm.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ArlError, match=r"tensor encoder.layer_norm.weight of the encoder is missing"):
        arl("init", "--from", tmp_path / "checkpoint", "--llm", "new:64x1", "-o", tmp_path / "policy")


@pytest.mark.skipif(find_spec("librosa") is not None, reason="librosa is there")
def test_parakeets_features_need_a_package(tmp_path: Path) -> None:
    import transformers

    config = transformers.ParakeetEncoderConfig(**LAYERS, num_mel_bins=16, subsampling_conv_channels=8)
    transformers.ParakeetEncoder(config).save_pretrained(tmp_path / "checkpoint")
    kind = {"feature_extractor_type": "ParakeetFeatureExtractor"}
    (tmp_path / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(kind))
    with pytest.raises(ArlError, match="its features need a package that arl does not install .*librosa"):
        arl("init", "--from", tmp_path / "checkpoint", "--llm", "new:64x1", "-o", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
