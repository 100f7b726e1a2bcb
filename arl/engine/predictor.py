"""The frozen second model of an LM of several codebooks: it samples a frame's other codes (Qwen3-TTS's code predictor).

The LM samples a frame's first code. The predictor is given the LM's hidden state that this code was sampled from and
the code's embedding, and samples the L other codes one after another, each from a head of its own. The sum of all their
embeddings is what the LM reads at its next step. Nothing of it is trained.

    frontend/predictor.json, predictor.safetensors      sizes, how it samples; its tensors, and `pad`

Used inside the engine, and where a family checks it; the trainer reads the sums alone (`FrameHistory`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from arl.engine.sampling import keep_likely, multinomial_with_seed

CONFIG, WEIGHTS, PAD = "predictor.json", "predictor.safetensors", "pad"
TABLE = "model.codec_embedding.{}.weight"
OWN_DRAWS = 1 << 24  # positions of the predictor's random numbers: behind those of the LM's


@dataclass(frozen=True)
class FrameHistory:
    """What an LM's input has beside the embedding of a frame's first code. tables: per other codebook [C, H]; pad: [H],
    the same at every frame. All are constants."""

    tables: Sequence[Tensor]
    pad: Tensor

    @classmethod
    @lru_cache(maxsize=1)
    def open(cls, frontend: Path) -> "FrameHistory":
        """Of a policy's frontend, on the CPU."""
        levels = json.loads((frontend / CONFIG).read_text(encoding="utf-8"))["levels"]
        with safe_open(frontend / WEIGHTS, "pt") as weights:
            return cls([weights.get_tensor(TABLE.format(level)) for level in range(levels)], weights.get_tensor(PAD))

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes int64 [n, L] → [n, H]."""
        rows = [table[codes[:, level]] for level, table in enumerate(self.tables)]
        return torch.stack(rows).sum(0) + self.pad


class CodePredictor(nn.Module):
    """Names of its parameters are upstream's. config: of the Qwen3 layers. width: of the LM's hidden states, H. levels:
    the codebooks it samples, L. sampling: {"temperature", "top_k", "top_p"}; temperature 0 takes the likeliest."""

    def __init__(self, config: dict[str, Any], width: int, levels: int, codes: int, sampling: dict[str, Any]) -> None:
        from transformers import Qwen3Config, Qwen3Model

        super().__init__()
        layers = Qwen3Config(**config, vocab_size=1)
        self.levels, self.sampling = levels, sampling
        self.model = Qwen3Model(layers)
        del self.model.embed_tokens
        self.model.codec_embedding = nn.ModuleList(nn.Embedding(codes, width) for _ in range(levels))
        self.lm_head = nn.ModuleList(nn.Linear(layers.hidden_size, codes, bias=False) for _ in range(levels))
        is_other = layers.hidden_size != width
        self.small_to_mtp_projection = nn.Linear(width, layers.hidden_size) if is_other else nn.Identity()
        self.register_buffer(PAD, torch.zeros(width))

    @classmethod
    def open(cls, frontend: Path) -> tuple["CodePredictor", dict[str, Tensor]]:
        """The model of a policy's frontend, without its weights, and those."""
        return cls(**json.loads((frontend / CONFIG).read_text(encoding="utf-8"))), load_file(frontend / WEIGHTS)

    @torch.no_grad()
    def sample(self, hidden: Tensor, first: Tensor, seeds: Tensor, positions: Tensor) -> Tensor:
        """hidden [B, H], embeddings of the first codes [B, H], seeds int64 [B] → codes int64 [B, L]. A row's draws are
        named by its seed and its position [B], so that they depend on no other row."""
        inputs, cache, codes = torch.stack([hidden, first], 1), None, []  # [B, 2, H]
        for level in range(self.levels):
            inner = self.small_to_mtp_projection(inputs)
            states = self.model(inputs_embeds=inner, past_key_values=cache, use_cache=True)
            cache = states.past_key_values
            logits = self.lm_head[level](states.last_hidden_state[:, -1]).float()  # [B, codes]
            codes.append(self._draw(logits, seeds, OWN_DRAWS + positions * self.levels + level))
            inputs = self.model.codec_embedding[level](codes[-1])[:, None]
        return torch.stack(codes, 1)

    def history(self, codes: Tensor) -> Tensor:
        """As `FrameHistory`: codes [B, L] → [B, H]."""
        return FrameHistory([table.weight for table in self.model.codec_embedding], self.pad)(codes)

    def _draw(self, logits: Tensor, seeds: Tensor, names: Tensor) -> Tensor:
        """One code per row, int64 [B]."""
        if not self.sampling["temperature"]:
            return logits.argmax(-1)
        probs = (logits / self.sampling["temperature"]).softmax(-1)
        top_k = torch.full_like(seeds, self.sampling["top_k"] or logits.shape[1])
        top_p = torch.full_like(probs[:, 0], self.sampling["top_p"])
        kept = keep_likely(probs, top_k, top_p, None)
        return multinomial_with_seed(kept.log(), seeds, names).squeeze(1)
