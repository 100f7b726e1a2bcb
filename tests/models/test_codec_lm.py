"""A plain LM and its codec, tiny and random: Llasa with X-Codec 2, from folder to waves and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arl.engine.generate import text_of
from arl.errors import ArlError, UsageError
from arl.models import DecodeSettings, family_of
from arl.policy import Policy, load_tokenizer
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.rows import Prompt
from arl.shards.writer import write_shard
from tests.in_process import arl
from tests.models.codec_checkpoints import CODES, make_llasa, make_xcodec2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with llasa, xcodec2 and their policy."""
    place = tmp_path_factory.mktemp("codec-lm")
    make_llasa(place / "llasa")
    make_xcodec2(place / "xcodec2")
    arl("init", "--from", place / "llasa", "--codec", place / "xcodec2", "-o", place / "policy")
    return place


def test_the_policy_stops_where_the_speech_does(made):
    policy, tokenizer = Policy.open(made / "policy"), load_tokenizer(made / "llasa")
    assert policy.family == "llasa" and policy.is_tts and not policy.has_clips
    assert policy.end_ids == [tokenizer.token_to_id("<|SPEECH_GENERATION_END|>")]
    assert policy.acoustic == (tokenizer.token_to_id("<|s_0|>"), CODES)
    assert policy.fields["sample_rate"] == 16000 and policy.fields["token_rate_hz"] == 50
    assert text_of([policy.acoustic[0], 5], load_tokenizer(policy.llm_dir), policy) == ""


def test_a_prompt_is_what_the_checkpoints_own_tokenizer_makes(made, tmp_path):
    from transformers import AutoTokenizer

    texts = {"a": "Hello, you!", "b": "{text} <|eot_id|>"}
    rows = [(key, {columns.META: columns.dumps({"text": text, "lang": "en"})}) for key, text in texts.items()]
    write_shard(tmp_path / "texts" / "000000.tar", rows)
    arl("encode", "--shards", tmp_path / "texts", "--policy", made / "policy", "-o", tmp_path / "emb")
    tokenizer = AutoTokenizer.from_pretrained(made / "llasa")
    for sample in read_shard(tmp_path / "emb" / "000000.tar"):
        asked = f"<|TEXT_UNDERSTANDING_START|>{texts[sample.key]}<|TEXT_UNDERSTANDING_END|>"
        turns = [
            {"role": "user", "content": f"Convert the text to speech:{asked}"},
            {"role": "assistant", "content": "<|SPEECH_GENERATION_START|>"},
        ]
        theirs = tokenizer.apply_chat_template(
            turns, tokenize=True, continue_final_message=True, date_string="26 Jul 2024", return_dict=False
        )
        assert Prompt.of(sample).input_ids == list(theirs)
        assert Prompt.of(sample).max_new_tokens == 2048 - len(theirs)


def test_waves_are_the_codecs(made):
    from transformers import Xcodec2Model

    policy = Policy.open(made / "policy")
    synthesis = family_of(policy).synthesiser(policy, torch.device("cpu"), DecodeSettings())
    codes = [[1, 2, 3, 4, 5], [80, 0, 7], [9, 8, 7]]
    waves = synthesis.decode(codes, ["none"] * 3, ["x"] * 3)
    model = Xcodec2Model.from_pretrained(made / "xcodec2").eval()
    for row, wave in zip(codes, waves, strict=True):
        with torch.no_grad():
            theirs = model.decode(torch.tensor([[row]])).audio_values.flatten()
        assert wave.shape == theirs.shape == (320 * len(row),)
        assert (wave - theirs).abs().max() <= 1e-5 and wave.std() > 0


def test_decode_and_export(made, tmp_path):
    policy = Policy.open(made / "policy")
    first, end = policy.acoustic[0], policy.eos_token_id
    hyp: dict[str, Any] = {"text": "", "tokens": [first, first + 3, end], "logprobs": [-1.0] * 3, "finish": "stop"}
    prompt = Prompt([1, 2], 9, "none").members()
    rollout = {"policy": policy.version, "temperature": 1.0, "hyps": [hyp]}
    write_shard(tmp_path / "emb" / "000000.tar", [("a", prompt)])
    write_shard(tmp_path / "rollout" / "000000.tar", [("a", {columns.ROLLOUT: columns.dumps(rollout)})])
    shards = ("--shards", tmp_path / "emb", "--shards", tmp_path / "rollout")
    arl("decode", *shards, "--policy", policy.path, "--device", "cpu", "-o", tmp_path / "wav")
    (sample,) = read_shard(tmp_path / "wav" / "000000.tar")
    import io

    import soundfile

    wave, rate = soundfile.read(io.BytesIO(sample.members["00.flac"]))
    assert (len(wave), rate) == (640, 16000) and np.isfinite(wave).all()
    arl("export", "--policy", policy.path, "-o", tmp_path / "back")
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "back" / name).read_bytes() == (made / "llasa" / name).read_bytes()


def test_what_is_refused_is_one_line(made, tmp_path):
    llasa, codec = made / "llasa", made / "xcodec2"
    other = tmp_path / "other"
    shutil.copytree(codec, other)
    (other / "config.json").write_text(json.dumps({"model_type": "dac"}))
    bare = tmp_path / "bare"
    shutil.copytree(llasa, bare)
    for file in bare.glob("*.jinja"):
        file.unlink()
    for words, kind, line in (
        ((llasa,), UsageError, "Llasa speaks through a codec: give --codec FOLDER"),
        (
            (llasa, "--codec", other),
            ArlError,
            "its config.json says model_type 'dac'; Llasa's codec is a folder",
        ),
        ((llasa, "--codec", codec, "--llm", "new:64x1"), UsageError, "Llasa is its own LLM"),
        ((llasa, "--codec", codec, "--voice", "a=b:c"), UsageError, "there is no file b"),
        ((bare, "--codec", codec), ArlError, "no chat template that renders"),
        (("whisper-tiny.en", "--codec", codec), UsageError, "family whisper-qwen2 has no place for --codec"),
    ):
        with pytest.raises(kind, match=line) as caught:
            arl("init", "--from", *words, "-o", tmp_path / "policy")
        assert "\n" not in str(caught.value) and not (tmp_path / "policy").exists()
