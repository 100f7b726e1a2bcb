"""What config.json of Qwen3-TTS says, and which of the checkpoint's tensors is what.

    talker.model.layers.*, .norm            the LM's layers → `llm/`
    talker.model.codec_embedding, codec_head  rows of the codes and of the end → `llm/`; the other rows are of prompts
    talker.code_predictor.*                 → predictor.safetensors
    talker.model.text_embedding, text_projection.*, speaker_encoder.*    of prompts

A position of the talker has three equal numbers for its rope (time, height, width), so that the rope is a plain one.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from arl.engine.predictor import PAD, CodePredictor
from arl.errors import ArlError

TALKER, PREDICTOR, SPEAKER = "talker.model.", "talker.code_predictor.", "speaker_encoder."
CODES, HEAD = f"{TALKER}codec_embedding.weight", "talker.codec_head.weight"  # [3072, H] each
TEXT, PROJECTION = f"{TALKER}text_embedding.weight", "talker.text_projection."
ROWS = {CODES: "model.embed_tokens.weight", HEAD: "lm_head.weight"}  # in `llm/`: of the codes, then of the end
SPECIALS = 1024  # rows behind the codes: marks, languages, speakers; none but the end is ever sampled
SAMPLING = {"temperature": 0.9, "top_k": 50, "top_p": 1.0}  # of the predictor, where generation_config.json has none
SHARED = (  # of the talker's and the predictor's configurations
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "hidden_act", "rms_norm_eps", "max_position_embeddings", "attention_bias",
)  # fmt: skip
MARKS = "codec_eos_token_id", "codec_think_id", "codec_nothink_id", "codec_think_bos_id", "codec_think_eos_id", \
        "codec_pad_id", "codec_bos_id"  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """config.json. file: for errors."""

    fields: dict[str, Any]
    file: Path

    @classmethod
    def read(cls, folder: Path) -> "Sizes":
        """ArlError for what is no Qwen3-TTS of 12 Hz."""
        file = folder / "config.json"
        try:
            sizes = cls(json.loads(file.read_text(encoding="utf-8")), file)
            sizes.check()
            return sizes
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArlError(f"{file}: no configuration of Qwen3-TTS ({error!r})") from error

    def check(self) -> None:
        """ArlError for a layout that is not served; KeyError where something is missing."""
        if "25hz" in str(self.fields.get("tokenizer_type", "")):
            raise ArlError(f"{self.file}: tokenizer_type {self.fields['tokenizer_type']}: arl has Qwen3-TTS of 12 Hz")
        if self.talker.get("use_sliding_window") or self.talker["code_predictor_config"].get("use_sliding_window"):
            raise ArlError(f"{self.file}: use_sliding_window: no Qwen3-TTS has it, and arl does not compute it")
        rope = self.talker.get("rope_scaling") or {}
        if (kind := rope.get("rope_type", rope.get("type", "default"))) not in ("default", "mrope"):
            raise ArlError(f"{self.file}: a rope of type {kind!r}: no Qwen3-TTS has it, and arl does not compute it")
        marks, codes = [self.talker[name] for name in MARKS], self.predictor({})["codes"]
        if not all(self.llm.vocab_size - 1 <= mark < self.talker["vocab_size"] for mark in marks):
            raise ArlError(f"{self.file}: {', '.join(MARKS)} are {marks}: not behind {self.n_codes} codes")
        if self.n_codes != codes:
            raise ArlError(f"{self.file}: the talker has {self.n_codes} codes, and the code predictor {codes}")

    @property
    def talker(self) -> dict[str, Any]:
        return self.fields["talker_config"]

    @property
    def speakers(self) -> dict[str, int | list[int]]:
        """The rows of each named speaker in the talker's table."""
        return self.talker.get("spk_id") or {}

    @property
    def n_codes(self) -> int:
        """First codes that a frame may have, C."""
        return int(self.talker["vocab_size"]) - SPECIALS

    @property
    def rows(self) -> list[int]:
        """The rows of the talker's tables that `llm/` has: C codes, then the end."""
        return [*range(self.n_codes), self.talker["codec_eos_token_id"]]

    @cached_property
    def llm(self) -> Qwen3Config:
        """The talker as a plain Qwen3 over its codes and the end."""
        rope = {"rope_type": "default", "rope_theta": float(self.talker["rope_theta"])}
        return Qwen3Config(
            **shared(self.talker), vocab_size=self.n_codes + 1, rope_parameters=rope, tie_word_embeddings=False,
            bos_token_id=None, pad_token_id=None, eos_token_id=self.n_codes,
        )  # fmt: skip

    def predictor(self, generation: dict[str, Any]) -> dict[str, Any]:
        """predictor.json. generation: generation_config.json, which says how the other codes are sampled."""
        own = self.talker["code_predictor_config"]
        said = {name: generation[f"subtalker_{name}"] for name in SAMPLING if f"subtalker_{name}" in generation}
        sampling = SAMPLING | said | ({} if generation.get("subtalker_dosample", True) else {"temperature": 0.0})
        rope = {"rope_type": "default", "rope_theta": float(own["rope_theta"])}
        levels = int(self.talker["num_code_groups"]) - 1
        return {"config": shared(own) | {"rope_parameters": rope}, "width": self.llm.hidden_size, "levels": levels,
                "codes": own["vocab_size"], "sampling": sampling}  # fmt: skip

    def shapes(self) -> dict[str, list[int]]:
        """Shape of each tensor by its name in the checkpoint, without the speaker encoder's and the text's."""
        with torch.device("meta"):
            llm, predictor = Qwen3ForCausalLM(self.llm), CodePredictor(**self.predictor({}))
        found = llm.model.state_dict(prefix=TALKER)
        found |= {PREDICTOR + name: tensor for name, tensor in predictor.state_dict().items() if name != PAD}
        del found[f"{TALKER}embed_tokens.weight"]
        table = [self.talker["vocab_size"], self.llm.hidden_size]
        return {name: list(tensor.shape) for name, tensor in found.items()} | {CODES: table, HEAD: table}

    def text_shapes(self) -> dict[str, list[int]]:
        """Of the text's embeddings and their projection; the number of texts' tokens is the tokenizer's."""
        wide, width = self.talker["text_hidden_size"], self.llm.hidden_size
        layers = {"linear_fc1.weight": [wide, wide], "linear_fc1.bias": [wide], "linear_fc2.weight": [width, wide],
                  "linear_fc2.bias": [width]}  # fmt: skip
        table = [self.talker["text_vocab_size"], wide]
        return {TEXT: table} | {PROJECTION + name: shape for name, shape in layers.items()}


def shared(fields: dict[str, Any]) -> dict[str, Any]:
    """What both Qwen3s of the checkpoint have of their configuration."""
    found = {name: fields[name] for name in SHARED if fields.get(name) is not None}
    return {"head_dim": fields["hidden_size"] // fields["num_attention_heads"], "attention_bias": False} | found


def plain_name(name: str) -> str | None:
    """The name in `llm/` of a tensor of the checkpoint; None for one that is elsewhere."""
    if name in ROWS:
        return ROWS[name]
    own = name.startswith(TALKER) and name != TEXT
    return "model." + name.removeprefix(TALKER) if own else None
