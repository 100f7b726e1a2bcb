"""Recordings by CosyVoice's ONNX files: voices at `arl init --voice`, codes at `arl encode`; upstream's features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from arl.audio.io import encode_flac
from arl.cli.main import make_app
from arl.errors import ArlError
from arl.models.cosyvoice.layout import VERSION_3
from arl.models.cosyvoice.voices import load_voices
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.rows import Codes
from arl.shards.writer import write_shard
from arl.train.data import speech_batch
from tests.models.cosyvoice_checkpoints import make_cosyvoice
from tests.models.onnx_files import write_speaker_model, write_tokenizer

TOKENIZER = "speech_tokenizer_v2.onnx"


def arl(*words: object) -> None:
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def wave(seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CosyVoice2, a recording of 0.81 s at 24 kHz, and the policy with the voice that is made of it."""
    place = tmp_path_factory.mktemp("recording")
    folder = make_cosyvoice(place / "CosyVoice2")
    write_tokenizer(folder / TOKENIZER)
    write_speaker_model(folder / "campplus.onnx")
    (place / "clip.flac").write_bytes(encode_flac(wave(0.81, 24_000), 24_000))
    arl("init", "--from", folder, "--voice", f"carl={place / 'clip.flac'}:they go", "-o", place / "policy")
    return place


def test_a_voice_is_made_of_a_recording(made):
    voice = load_voices(made / "policy" / "frontend")["carl"]
    assert voice.mel.shape == (2 * len(voice.codes), 80) == (40, 80)
    assert len(set(voice.codes)) > 5 and voice.speaker.shape == (192,) and len(voice.text) > 3


def test_recordings_become_codes_and_train(made, tmp_path):
    rows = [
        (key, {"flac": encode_flac(wave(seconds)), columns.META: columns.dumps({"text": "they go"})})
        for key, seconds in (("a", 0.6), ("b", 31.0))
    ]
    write_shard(tmp_path / "data" / "000000.tar", rows)
    shards = ("--shards", tmp_path / "data", "--policy", made / "policy", "-o", tmp_path / "emb")
    with pytest.raises(ArlError, match="31.0 s long, and the speech tokenizer hears 30 s: cut it"):
        arl("encode", *shards)
    arl("encode", *shards, "--max-failed", 1)
    samples = list(read_shard(tmp_path / "emb" / "000000.tar"))
    from arl.models.cosyvoice.recording import Listener

    codes, policy = Codes.of(samples[0]).codes, Policy.open(made / "policy")
    assert codes == Listener(made / "CosyVoice2", TOKENIZER).codes(wave(0.6)) and len(codes) == 15
    batch = speech_batch(samples, policy.acoustic, policy.eos_token_id, policy.has_clips)
    (group,) = batch.groups
    assert group.responses[0].tolist() == [*codes, 6561] and group.clips[0].shape[1] == 64


def test_the_features_are_upstreams():
    """Whisper's own features over whole windows of 30 s; the flow's mel from its definition."""
    from transformers import WhisperFeatureExtractor

    from arl.models.cosyvoice.recording import flow_mel, whisper_mel

    clip = wave(30.0)
    theirs = WhisperFeatureExtractor(feature_size=128)(clip, sampling_rate=16_000, return_tensors="pt")
    assert (whisper_mel(torch.from_numpy(clip)) - theirs["input_features"][0]).abs().max() <= 1e-3
    tone = torch.sin(torch.arange(24_000) * 2 * torch.pi * 1000 / 24_000)
    mel = flow_mel(tone, 8000.0)
    assert mel.shape == (50, 80) and mel[10].argmax() == mel[40].argmax() == 26  # 15 mels of 45.25 / 81 each
    assert mel.min() >= np.log(1e-5) - 1e-6
    higher = flow_mel(tone, VERSION_3.mel_top_hz)
    assert higher[10].argmax() == 23  # 15 mels of 51.14 / 81 each, up to 12 kHz


def test_without_the_onnx_files_it_is_one_line(made, tmp_path):
    folder = make_cosyvoice(tmp_path / "CosyVoice2")
    with pytest.raises(ArlError, match="speech_tokenizer_v2.onnx: missing; recordings need it"):
        arl("init", "--from", folder, "--voice", f"carl={made / 'clip.flac'}:they go", "-o", tmp_path / "policy")
    arl("init", "--from", folder, "-o", tmp_path / "deaf")
    rows = [("a", {"flac": encode_flac(wave(0.6)), columns.META: columns.dumps({"text": "they go"})})]
    write_shard(tmp_path / "data" / "000000.tar", rows)
    with pytest.raises(ArlError, match="a.*speech_tokenizer_v2.onnx: missing; recordings need it") as caught:
        arl("encode", "--shards", tmp_path / "data", "--policy", tmp_path / "deaf", "-o", tmp_path / "emb")
    assert "\n" not in str(caught.value) and not (tmp_path / "emb" / "000000.tar").exists()
    (folder / TOKENIZER).write_bytes(b"no model")
    with pytest.raises(ArlError, match="no ONNX model") as caught:
        arl("init", "--from", folder, "--voice", f"carl={made / 'clip.flac'}:they go", "-o", tmp_path / "policy")
    assert "\n" not in str(caught.value) and not (tmp_path / "policy").exists()
