"""An audio encoder's checkpoint and a causal LM → a policy folder, with a fresh projector between them."""

from pathlib import Path

import torch

from arl.models import Subwords
from arl.models.audio_encoder.frontend import Frontend, load_encoder, width
from arl.models.whisper_qwen2.build import chosen_llm, ctc_labels, write
from arl.models.whisper_qwen2.frontend import Projector
from arl.policy import Policy

NAME = "audio-encoder"


def build(source: str, llm: str, stack: int, out: Path, seed: int, subwords: Subwords | None) -> Policy:
    """A policy with a pretrained encoder, a fresh projector, and the LLM that `llm` names, as of whisper-qwen2."""
    tower, extractor = load_encoder(source)
    model, tokenizer, ids = chosen_llm(llm, seed, subwords)
    torch.manual_seed(seed + 1)
    projector = Projector(width(tower), model.config.hidden_size, ctc_labels(tokenizer, ids), stack)
    frontend = Frontend(tower, extractor, projector)
    return write(out, frontend, model, tokenizer, {**ids, "family": NAME, "tower": source, "step": 0})
