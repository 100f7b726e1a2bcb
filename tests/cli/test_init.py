"""`arl init` from local Hugging Face folders, and `arl export --slim` → `arl init` back to the same weights."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.errors import ArlError
from arl.policy import Policy, load_tokenizer
from tests.tiny_asr import make_tiny_asr_policy


@pytest.fixture
def build() -> ModuleType:
    from arl.models.whisper_qwen2 import build

    return build


@pytest.fixture
def frontend() -> ModuleType:
    from arl.models.whisper_qwen2 import frontend

    return frontend


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=64, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=64, vocab_size=60000, max_source_positions=1500,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def arl(*words: object) -> None:
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def test_from_a_local_whisper_and_a_fresh_llm(whisper: Path, tmp_path: Path) -> None:
    arl("init", "--from", whisper, "--llm", "new:64x1", "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    policy.verify()
    assert policy.embedding_dim == 64 and policy.prompt.count(policy.audio_token_id) == 1


def test_from_a_local_causal_lm_with_its_own_tokenizer(build: ModuleType, whisper: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = build.new_llm("64x1", 0)
    model.save_pretrained(tmp_path / "llm")
    tokenizer.save_pretrained(tmp_path / "llm")
    arl("init", "--from", whisper, "--llm", tmp_path / "llm", "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    assert policy.prompt.count(policy.audio_token_id) == 1 and policy.audio_token_id not in range(32)


def test_the_llms_own_template_ends_and_defaults(build: ModuleType, whisper: Path, tmp_path: Path) -> None:
    """Nothing of another LLM's chat is written into the prompt, and how the LLM likes to be sampled is left out."""
    from transformers import GenerationConfig

    model, tokenizer, _ = build.new_llm("64x1", 0)
    likes = {"temperature": 0.5, "do_sample": True, "repetition_penalty": 1.1}
    model.generation_config = GenerationConfig(**likes, eos_token_id=[2, 3])
    model.save_pretrained(tmp_path / "llm")
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m['content'] }}{% endfor %}<asr>"
    tokenizer.save_pretrained(tmp_path / "llm")
    settings = tmp_path / "llm" / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "processor_class": "OtherProcessor"}))
    arl("init", "--from", whisper, "--llm", tmp_path / "llm", "-o", tmp_path / "policy")
    policy = Policy.open(tmp_path / "policy")
    assert policy.prompt[:2] == [1, policy.audio_token_id] and policy.prompt[-1] == 3
    assert policy.fields["eos_token_id"] == [2, 3]
    defaults = json.loads((policy.llm_dir / "generation_config.json").read_text())
    assert not defaults.keys() & likes.keys()
    assert "processor_class" not in (policy.llm_dir / "tokenizer_config.json").read_text()


def test_the_tower_on_a_whole_window_equals_whisper(frontend: ModuleType, whisper: Path, tmp_path: Path) -> None:
    """On a 30 s clip the cut-to-length tower computes what transformers' encoder computes."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    arl("init", "--from", whisper, "--llm", "new:64x1", "-o", tmp_path / "policy")
    ours = frontend.load(Policy.open(tmp_path / "policy").frontend_dir)
    wave = np.random.default_rng(0).standard_normal(int(29.7 * 16000)).astype(np.float32)
    mel = WhisperFeatureExtractor()(wave, sampling_rate=16000, return_tensors="pt").input_features
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    with torch.no_grad():
        theirs = model.model.encoder(mel).last_hidden_state[0]
    mine = ours.features([wave])[0]
    # theirs attends to 0.2 s of silence behind the clip, ours is cut there
    assert torch.nn.functional.cosine_similarity(mine[:1400], theirs[:1400]).min() > 0.999


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArlError, match="no .* or Whisper checkpoint"):
        arl("init", "--from", tmp_path / "nothing", "-o", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_slim_export_and_back(
    build: ModuleType, frontend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.open(make_tiny_asr_policy(tmp_path / "policy"))
    arl("export", "--policy", policy.path, "--slim", "--dtype", "float32", "-o", tmp_path / "slim")
    assert not list((tmp_path / "slim").rglob("tower*"))
    tower = frontend.load(policy.frontend_dir).tower
    monkeypatch.setattr(build, "load_tower", lambda source: (tower, source))  # "random" is on no shelf
    arl("init", "--from", tmp_path / "slim", "-o", tmp_path / "back")
    back = Policy.open(tmp_path / "back")
    assert back.version == policy.version and back.frontend_id == policy.frontend_id
    assert back.fields["probe"] == policy.fields["probe"]
    for folder in (policy.path, back.path):
        tokenizer = load_tokenizer(folder / "llm")
        ids = tokenizer.encode("it's a b", add_special_tokens=False).ids
        assert len(ids) == 8 and tokenizer.decode(ids) == "it's a b"


def test_a_slim_policy_refuses_another_tower(
    build: ModuleType, frontend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.open(make_tiny_asr_policy(tmp_path / "policy"))
    other = frontend.load(Policy.open(make_tiny_asr_policy(tmp_path / "other", seed=1)).frontend_dir).tower
    arl("export", "--policy", policy.path, "--slim", "-o", tmp_path / "slim")
    monkeypatch.setattr(build, "load_tower", lambda source: (other, source))
    with pytest.raises(ArlError, match="not those"):
        arl("init", "--from", tmp_path / "slim", "-o", tmp_path / "back")
