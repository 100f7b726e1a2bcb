"""A family that is not in the tree, as a user would state it: Ultravox's layout, whose class is not in transformers.

Whisper's encoder, frames stacked by 4, a linear projector and Llama; the LLM's tensors lie below `language_model.`.
"""

import inspect
import json
import math
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from arl.models import InitOptions
from arl.models.checkpoint import Checkpoint
from arl.models.speech_lm.family import ChatLm
from arl.models.speech_lm.prompt import Ask, collapse
from arl.policy import Policy
from tests.models.speech_checkpoints import AUDIO, CHAT, END, TEXT, WHISPER, tokenizer, whisper_features

STACK = 4


class Ultravox(ChatLm):
    name, takes, types = "ultravox", "Ultravox", ("ultravox",)
    renames = (("language_model.model.", "language_model."), ("language_model.lm_head.", "lm_head."))
    instruction = "Transcribe the audio."

    @property
    def model_class(self) -> Any:
        return own_classes().model

    def load_processor(self, folder: Path) -> Any:
        return own_classes().processor(folder)


@cache
def own_classes() -> Any:
    """What the checkpoint's author ships: configuration, model and processor."""
    from transformers import (
        AutoFeatureExtractor,
        AutoTokenizer,
        LlamaConfig,
        LlamaModel,
        PreTrainedConfig,
        PreTrainedModel,
        WhisperConfig,
    )
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    class Config(PreTrainedConfig):
        model_type = "ultravox"
        sub_configs = {"audio_config": WhisperConfig, "text_config": LlamaConfig}

        def __init__(self, audio_config: Any = None, text_config: Any = None, **named: Any) -> None:
            self.audio_config = WhisperConfig(**audio_config or {})
            self.text_config = LlamaConfig(**text_config or {})
            self.audio_token_id = AUDIO
            super().__init__(**named)

    class Model(PreTrainedModel):
        config_class = Config

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            audio, text = config.audio_config, config.text_config
            self.audio_tower = WhisperEncoder(audio)
            self.multi_modal_projector = torch.nn.Linear(STACK * audio.d_model, text.hidden_size)
            self.language_model = LlamaModel(text)
            self.lm_head = torch.nn.Linear(text.hidden_size, text.vocab_size, bias=False)
            self.post_init()

        def get_decoder(self) -> Any:
            return self.language_model

        def forward(self, input_ids: Any, input_features: Any, use_cache: bool = False) -> Any:
            frames = self.audio_tower(input_features).last_hidden_state
            heard = self.multi_modal_projector(frames.reshape(1, -1, STACK * frames.shape[-1]))
            is_audio = input_ids == AUDIO
            embeddings = self.language_model.get_input_embeddings()(input_ids)
            embeddings[is_audio] = heard[0, : int(is_audio.sum())]
            found = self.language_model(inputs_embeds=embeddings, use_cache=use_cache).last_hidden_state
            return SimpleNamespace(logits=self.lm_head(found))

    class Processor:
        audio_token, chat_template = "<audio>", CHAT

        def __init__(self, folder: Path) -> None:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.feature_extractor = AutoFeatureExtractor.from_pretrained(folder)

        def apply_chat_template(self, messages: Any, **named: Any) -> str:
            return self.tokenizer.apply_chat_template(messages, chat_template=CHAT, **named)

        def __call__(self, text: Any, audio: Any, return_tensors: str) -> Any:
            features = self.feature_extractor(audio, sampling_rate=16_000, return_tensors=return_tensors)
            count = math.ceil(len(audio[0]) / 320 / STACK)
            ids = self.tokenizer.encode(text[0].replace("<audio>", "<audio>" * count), add_special_tokens=False)
            return {"input_ids": torch.tensor([ids]), "input_features": features["input_features"]}

    return SimpleNamespace(config=Config, model=Model, processor=Processor)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("ultravox")
    config = own_classes().config({"num_mel_bins": 16, **WHISPER, "decoder_layers": 1}, TEXT)
    torch.manual_seed(0)
    model = own_classes().model(config)
    names = {name: name for name in model.state_dict()}
    for disk, ours in reversed(Ultravox.renames):
        names |= {name: disk + name.removeprefix(ours) for name in names if name.startswith(ours)}
    save_file({names[name]: tensor for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    tokenizer().save_pretrained(folder)
    whisper_features().save_pretrained(folder)
    config.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END}))
    return folder


@pytest.fixture(scope="module")
def policy(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    family = Ultravox()
    assert family.recognises(Checkpoint(str(checkpoint)))
    return family.build(Checkpoint(str(checkpoint)), tmp_path_factory.mktemp("made") / "policy", InitOptions())


def test_it_is_said_in_a_few_lines() -> None:
    assert len(inspect.getsource(Ultravox).splitlines()) < 15


def test_encoded_clips_and_the_llm_are_the_full_model(checkpoint: Path, policy: Policy) -> None:
    from safetensors.torch import load_file

    from arl.models.speech_lm.tower import load_tower
    from arl.train.load import causal_lm

    family: Any = Ultravox()
    stored = load_file(checkpoint / "model.safetensors")
    full = own_classes().model(family.config(checkpoint)).eval()
    full.load_state_dict({family.renamed(name): tensor for name, tensor in stored.items()})
    tower, llm = load_tower(family, policy.frontend_dir), causal_lm(policy.llm_dir, torch.float32).eval()
    for samples in (4_800, 20_001):
        wave = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
        inputs = family.inputs(family.load_processor(checkpoint), wave, Ask())
        ids = collapse(inputs["input_ids"][0].tolist(), AUDIO)
        place, table = ids.index(AUDIO), llm.get_input_embeddings()
        with torch.no_grad():
            before, behind = (table(torch.tensor(part)) for part in (ids[:place], ids[place + 1 :]))
            row = torch.cat([before, tower.encode(inputs, 0), behind])
            ours, wanted = llm(inputs_embeds=row[None]).logits, full(**inputs).logits
        assert ours.shape == wanted.shape and float((ours - wanted).abs().max()) <= 1e-5


def test_an_untrained_policy_goes_back_to_the_same_bytes(checkpoint: Path, policy: Policy, tmp_path: Path) -> None:
    Ultravox().export(policy, tmp_path / "back")
    files = sorted(path for path in checkpoint.iterdir())
    assert [path.name for path in files] == sorted(path.name for path in (tmp_path / "back").iterdir())
    assert all(path.read_bytes() == (tmp_path / "back" / path.name).read_bytes() for path in files)
