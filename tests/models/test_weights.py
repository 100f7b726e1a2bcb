"""The parts of a frontend and the token recogniser: damaged files are one line with file and tensor, for each alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from arl.errors import ArlError
from arl.models.qwen2_flow import codec, decoder, prompts
from arl.models.token_asr import model as token_asr
from tests.models.test_speech_codec import make_codec
from tests.models.test_token_asr import make_asr
from tests.tiny_tts import make_tiny_decoder


def tiny_frontend() -> Any:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from arl.models.whisper_qwen2.frontend import Frontend, Projector

    sizes = {"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8}
    return Frontend(WhisperEncoder(WhisperConfig(**sizes, max_source_positions=20)), Projector(8, 8, 5))


def save_frontend(folder: Path) -> None:
    tiny_frontend().save(folder)


def load_frontend(folder: Path) -> Any:
    from arl.models.whisper_qwen2 import frontend

    return frontend.load(folder)


PARTS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str, str]] = {  # save, load, weights, sizes
    "codec": (lambda folder: codec.save(make_codec(), folder), codec.load, "codec.safetensors", "codec.json"),
    "flow": (lambda folder: decoder.save(make_tiny_decoder(), folder), decoder.load, decoder.FLOW, decoder.CONFIG),
    "vocoder": (
        lambda folder: decoder.save(make_tiny_decoder(), folder), decoder.load, decoder.VOCODER, decoder.CONFIG
    ),
    "token_asr": (
        lambda folder: token_asr.save(make_asr().float(), folder), token_asr.load, token_asr.WEIGHTS, token_asr.CONFIG
    ),
    "tower": (save_frontend, load_frontend, "tower.safetensors", "config.json"),
    "projector": (save_frontend, load_frontend, "projector.safetensors", "config.json"),
}  # fmt: skip


def line(load: Callable[[Path], object], folder: Path) -> str:
    """What a load is refused with."""
    with pytest.raises(ArlError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("part", PARTS)
def test_damaged_weights_are_one_line(tmp_path, part):
    save, load, weights, sizes = PARTS[part]
    save(tmp_path)
    load(tmp_path)
    file, whole = tmp_path / weights, load_file(tmp_path / weights)
    first = min(name for name, tensor in whole.items() if tensor.is_floating_point() and tensor.ndim > 1)
    for value in (float("nan"), float("inf")):
        bad = whole[first].clone()
        bad.view(-1)[-1] = value
        save_file({**whole, first: bad}, file)
        assert line(load, tmp_path).startswith(f"{file}: tensor {first} has NaN or infinite values")
    for change in (
        {name: tensor for name, tensor in whole.items() if name != first},
        {**whole, "stray": torch.zeros(1)},
        {**whole, first: whole[first][:1].clone()},
    ):
        save_file(change, file)
        said = line(load, tmp_path)
        assert f"{file}: does not fit {tmp_path / sizes}" in said and ("stray" in said or first in said)
    save_file(whole, file)
    file.write_bytes(file.read_bytes()[:-1])
    assert line(load, tmp_path).startswith(f"{file}: damaged")
    save_file(whole, file)
    fields = json.loads((tmp_path / sizes).read_text())
    for text in ("{", "[1]", "{}", json.dumps(dict.fromkeys(fields, -1)), json.dumps(dict.fromkeys(fields, None))):
        (tmp_path / sizes).write_text(text)
        assert str(tmp_path) in line(load, tmp_path)


def test_damaged_voices_are_one_line(tmp_path):
    good = prompts.Voice("ann", "hello", [1, 2], np.ones(2, dtype=np.float32))
    prompts.save_voices([prompts.Voice("ann", "hello", [1], np.full(2, np.nan, dtype=np.float32))], tmp_path)
    assert "voice 'ann' has no codes, or no finite speaker vector" in line(prompts.load_voices, tmp_path)
    prompts.save_voices([prompts.Voice("ann", "hello", [-1], good.speaker)], tmp_path)
    assert "voice 'ann' has no codes" in line(prompts.load_voices, tmp_path)
    prompts.save_voices([good], tmp_path)
    for text in ('{"bob": {"text": "a"}}', "[]", "{", '{"ann": {}}'):
        (tmp_path / "voices.json").write_text(text)
        assert "voices.json or voices.safetensors is damaged" in line(prompts.load_voices, tmp_path)
    prompts.save_voices([good], tmp_path)
    (tmp_path / "voices.safetensors").write_bytes(b"\0" * 8)
    assert "voices.json or voices.safetensors is damaged" in line(prompts.load_voices, tmp_path)
