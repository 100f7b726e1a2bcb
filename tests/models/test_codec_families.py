"""The families of a plain LM and a codec: prompts, codes and waves as upstream has them, literally, and voices."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arl.audio.io import encode_flac
from arl.errors import ArlError, UsageError
from arl.models import DecodeSettings, family_of
from arl.models.codec_lm.frame import Frame
from arl.models.neutts import espeak
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.rows import Codes, Prompt
from arl.shards.writer import write_shard
from arl.train.acoustic import seed_of
from arl.train.groups import PromptGroup
from arl.train.load import load_llm
from arl.train.shared_prefix import shared_log_probs
from tests.in_process import arl
from tests.models import codec_checkpoints as checkpoints
from tests.models.codec_upstream import SAID, heard, ids_of, literal_prompt, orpheus_row

SPEAKER = {
    "text": "One two", "interface_version": 3, "global_features": {},
    "words": [
        {"word": "One", "duration": 0.2, "c1": [7, 8], "c2": [5, 6], "features": {"energy": 1, "pitch": 2}},
        {"word": "two", "duration": 1.5, "c1": [9], "c2": [1023], "features": {"spectral_centroid": 2}},
    ],
}  # fmt: skip
BACKEND = espeak.backend


@dataclass(frozen=True)
class Kind:
    """codec: the maker's name. rate: of the waves. places: of a frame. voices: of `arl init`, {} stands for files."""

    codec: str
    rate: int
    code_hz: float
    places: int
    voices: tuple[str, ...]


KINDS = {
    "llasa": Kind("xcodec2", 16_000, 50, 1, ("ann={}/ann.flac:" + SAID,)),
    "neutts": Kind("neucodec", 24_000, 50, 1, ("ann={}/ann.flac:" + SAID,)),
    "outetts": Kind("dac", 24_000, 150, 2, ("ann={}/ann.json",)),
    "orpheus": Kind("snac", 24_000, 82.03125, 7, ("ann={}/ann.flac:" + SAID, "tara")),
}
WAVE = 0.1 * np.random.default_rng(0).standard_normal(9_000).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all checkpoints, codecs and policies; espeak writes capitals."""
    place, patch = tmp_path_factory.mktemp("codec-families"), pytest.MonkeyPatch()
    fake = SimpleNamespace(phonemize=lambda texts: [f" {text.upper()}  " for text in texts])
    patch.setattr(espeak, "backend", lambda language: fake)
    for variable, value in {"ARL_DEVICE": "cpu", "ARL_THREADS": "1"}.items():
        patch.setenv(variable, value)
    (place / "ann.flac").write_bytes(encode_flac(WAVE))
    (place / "ann.json").write_text(json.dumps(SPEAKER))
    for name, kind in KINDS.items():
        lm = getattr(checkpoints, f"make_{name}")(place / name)
        codec = getattr(checkpoints, f"make_{kind.codec}")(place / kind.codec)
        voices = [word for voice in kind.voices for word in ("--voice", voice.format(place))]
        arl("init", "--from", lm, "--codec", codec, *voices, "-o", place / f"{name}-policy")
    yield place
    patch.undo()


def policy_of(place: Path, name: str) -> Policy:
    return Policy.open(place / f"{name}-policy")


@pytest.mark.parametrize("name", KINDS)
def test_prompts_and_log_probs_are_those_of_upstreams_sequence(place, tmp_path, name):
    from transformers import AutoModelForCausalLM

    policy, text = policy_of(place, name), "Hello, you!"
    model = AutoModelForCausalLM.from_pretrained(place / name).eval()
    ours, first = load_llm(policy.llm_dir, torch.device("cpu")), policy.acoustic[0]
    write_shard(tmp_path / "texts" / "000000.tar", [("a", {columns.META: columns.dumps({"text": text, "lang": "en"})})])
    for voice in ("none", *(voice.partition("=")[0] for voice in KINDS[name].voices)):
        out = tmp_path / voice
        arl("encode", "--shards", tmp_path / "texts", "--policy", policy.path, "--voice", voice, "-o", out)
        (sample,) = read_shard(out / "000000.tar")
        prompt, literal = Prompt.of(sample), literal_prompt(place, name, text, voice)
        assert prompt.voice == voice and prompt.input_ids == list(literal)
        longest = {"outetts": 8192, "orpheus": 8192}.get(name, 2048)
        assert prompt.max_new_tokens == longest - len(literal)
        response = [first, first + 3, 2, first + 1, policy.eos_token_id]
        group = PromptGroup("a", torch.tensor(prompt.input_ids), [], [torch.tensor(response)], [0.0])
        with torch.no_grad():
            found = shared_log_probs(ours, [group], policy.audio_token_id).log_probs
            logits = model(torch.tensor([[*literal, *response]])).logits[0, len(literal) - 1 : -1]
        theirs = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0]
        assert float((found - theirs).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", KINDS)
def test_a_policy_says_its_codes_rates_and_ends(place, name):
    policy, kind = policy_of(place, name), KINDS[name]
    ends = {
        "outetts": ["<|audio_end|>", "<|im_end|>"], "orpheus": ["<custom_token_2>", "<custom_token_6>"],
    }.get(name, ["<|SPEECH_GENERATION_END|>"])  # fmt: skip
    assert policy.end_ids == [ids_of(place / name, end)[0] for end in ends]
    assert (policy.fields["sample_rate"], policy.fields["token_rate_hz"]) == (kind.rate, kind.code_hz)
    firsts = {"llasa": "<|s_0|>", "neutts": "<|speech_0|>", "outetts": "<|c1_0|>", "orpheus": "<custom_token_10>"}
    n_codes = {"outetts": 2 * 1025, "orpheus": 7 * 4096}.get(name, checkpoints.CODES)
    assert policy.acoustic == (ids_of(place / name, firsts[name])[0], n_codes)
    synthesis = family_of(policy).synthesiser(policy, torch.device("cpu"), DecodeSettings())
    assert list(synthesis.voices) == ["none", *(voice.partition("=")[0] for voice in kind.voices)]


def test_orpheus_waves_are_those_of_upstreams_frames(place):
    """Codes out of their place and a cut frame are not heard; noise is of a hypothesis' name alone."""
    import snac

    rng, model = np.random.default_rng(3), snac.SNAC.from_pretrained(str(place / "snac"))
    levels = [torch.from_numpy(rng.integers(4096, size=n)) for n in (3, 6, 12)]
    row = orpheus_row(levels)
    spoiled = [4096, *row[:9], row[0], *row[9:], *row[:4]]
    policy = policy_of(place, "orpheus")
    synthesis = family_of(policy).synthesiser(policy, torch.device("cpu"), DecodeSettings())
    waves = synthesis.decode([row, spoiled, row[:7], row[:6]], ["none"] * 4, ["x", "x", "x", "y"])
    before = torch.random.get_rng_state()
    assert torch.equal(synthesis.decode([row], ["none"], ["x"])[0], waves[0]) and torch.equal(waves[0], waves[1])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [len(wave) for wave in waves] == [3 * 2048, 3 * 2048, 2048, 2048] and not waves[3].any()
    with torch.no_grad(), torch.random.fork_rng([]):
        torch.manual_seed(seed_of("x"))
        theirs = model.decode([level[None] for level in levels]).flatten()
    assert float((waves[0] - theirs).abs().max()) <= 1e-5 and theirs.std() > 0


def test_outetts_waves_are_dacs(place):
    from transformers import DacModel

    policy = policy_of(place, "outetts")
    synthesis = family_of(policy).synthesiser(policy, torch.device("cpu"), DecodeSettings())
    rows = [[3, 1025 + 5, 8, 1025 + 9], [700, 1025 + 1023], [1024, 6, 1025 + 7, 1025 + 1024]]  # 1024 is no code of DAC
    waves = synthesis.decode(rows, ["none"] * 3, ["x"] * 3)
    model = DacModel.from_pretrained(place / "dac").eval()
    for wave, codes in zip(waves, ([[3, 8], [5, 9]], [[700], [1023]], [[6], [7]]), strict=True):
        with torch.no_grad():
            theirs = model.decode(audio_codes=torch.tensor([codes])).audio_values[0]
        assert wave.shape == theirs.shape and float((wave - theirs).abs().max()) <= 1e-5 and wave.std() > 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(
    levels=st.sampled_from([(0,), (0, 1), (0, 1, 2, 2, 1, 2, 2)]), n=st.integers(0, 5), size=st.integers(1, 9),
    spare=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_codes_and_numbers_go_round(levels, n, size, spare, seed):
    frame, rng = Frame(levels, size + spare, size), np.random.default_rng(seed)
    codes = [rng.integers(size, size=n * count).tolist() for count in frame.per_level]
    numbers = frame.numbers(codes)
    assert frame.codes(numbers) == codes and len(numbers) == n * len(levels)
    assert frame.whole([*numbers, *numbers[:-1]]) == (numbers * 2)[: (2 * n - 1) * len(levels)] or n == 0
    assert all(0 <= number < len(levels) * frame.width for number in numbers)


def test_recordings_become_codes_that_a_token_recogniser_learns_from(place, tmp_path):
    """Of several levels; of one, the voices above are recordings too."""
    row = {"flac": encode_flac(WAVE), columns.META: columns.dumps({"text": "a b", "lang": "en"})}
    write_shard(tmp_path / "data" / "000000.tar", [("a", row)])
    for name in ("outetts", "orpheus"):
        policy, kind, out = policy_of(place, name), KINDS[name], tmp_path / name
        arl("encode", "--shards", tmp_path / "data", "--policy", policy.path, "--device", "cpu", "-o", out)
        (codes,) = [Codes.of(sample) for sample in read_shard(out / "000000.tar")]
        levels = heard(place, kind.codec)
        frame = Frame(family_of(policy).levels, policy.acoustic[1] // kind.places, 1 << 20)
        assert codes.rate_hz == kind.code_hz
        assert codes.codes == frame.numbers([level.tolist() for level in levels])
    assert codes.codes == orpheus_row(levels)
    words = ("--steps", 1, "--width", 8, "--layers", 1, "--held-out", 0, "--device", "cpu")
    shards = ("--shards", tmp_path / "orpheus", "--shards", tmp_path / "data")
    arl("train-token-asr", *shards, "--codes", 7 * 4096, *words, "-o", tmp_path / "asr")
    assert json.loads((tmp_path / "asr" / "config.json").read_text())["figures"]["trained_on"] == 1
    with pytest.raises(UsageError, match="have words between the codes, which a recording has not"):
        arl("update", "--loss", "sft", *shards, "--policy", place / "outetts-policy", "-o", tmp_path / "next")


def test_another_codec_or_voice_is_one_line(place, tmp_path, monkeypatch):
    flac, out = f"{place}/ann.flac", tmp_path / "policy"
    whole = checkpoints.make_dac(tmp_path / "dac", 3)
    finest = checkpoints.make_snac(tmp_path / "snac", (8, 4, 2, 1))
    pickled = tmp_path / "pickled"
    shutil.copytree(place / "snac", pickled)
    torch.save({"decoder": SimpleNamespace()}, pickled / "pytorch_model.bin")
    old = tmp_path / "old.json"
    old.write_text(json.dumps(SPEAKER | {"interface_version": 2}))
    deaf = tmp_path / "deaf"
    shutil.copytree(place / "xcodec2", deaf)
    (deaf / "preprocessor_config.json").unlink()
    cases: list[tuple[str, Path, tuple[str, ...], str]] = [
        ("outetts", whole, (), r"a frame of its levels has \[1, 1, 1\] codes, and OuteTTS 1.0's \[1, 1\]"),
        ("orpheus", finest, (), r"has \[1, 2, 4, 8\] codes, and Orpheus's \[1, 2, 4\]: another SNAC"),
        ("orpheus", pickled, (), "a pickle with more in it than tensors"),
        ("orpheus", place / "dac", (), "no pytorch_model.bin|not SNAC's"),
        ("outetts", place / "dac", ("--voice", f"a={flac}:one"), "a voice of OuteTTS is a speaker's file"),
        ("outetts", place / "dac", ("--voice", f"a={old}"), "a speaker of interface version 2, not 3"),
        ("neutts", place / "neucodec", ("--voice", "tara"), "NeuTTS wants NAME=FILE:TRANSCRIPT"),
        ("orpheus", place / "snac", ("--language", "de"), "of the flags, --codec, --voice are for it"),
        ("orpheus", place / "snac", ("--voice", "a", "--voice", "a"), "two have the same name"),
        (
            "llasa",
            deaf,
            ("--voice", f"a={flac}:one"),
            "no preprocessor_config.json, so that Xcodec2Model",
        ),
    ]
    for name, codec, words, line in cases:
        with pytest.raises(ArlError, match=line) as caught:
            arl("init", "--from", place / name, "--codec", codec, *words, "-o", out)
        assert "\n" not in str(caught.value) and not out.exists()
    texts = tmp_path / "texts"
    write_shard(texts / "000000.tar", [("a", {columns.META: columns.dumps({"text": "one", "lang": "en"})})])
    with pytest.raises(UsageError, match="--voice bob: the policy has ann, tara, none"):
        arl("encode", "--shards", texts, "--policy", place / "orpheus-policy", "--voice", "bob", "-o", out)


def test_phonemes_want_espeak(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ArlError, match=r"espeakng_loader is not installed: pip install 'arl\[neutts\]'"):
        BACKEND("en-us")


def test_phonemes_are_phonemizers(monkeypatch):
    """Its arguments are upstream's; French has no dashes; a text that nothing is spoken of is an error."""
    asked: list[Any] = []

    def backend(language: str) -> Any:
        asked.append(language)
        return SimpleNamespace(phonemize=lambda texts: [{"non": " n-ɔ̃  ! "}.get(text, "") for text in texts])

    monkeypatch.setattr(espeak, "backend", backend)
    assert espeak.phonemes("non", "fr") == "nɔ̃ !" and espeak.phonemes("non", "de") == "n-ɔ̃ !"
    assert asked == ["fr-fr", "de"]
    with pytest.raises(ArlError, match="espeak speaks nothing"):
        espeak.phonemes("…", "en")
