"""The talker's prompt: text and codes at the same positions, their embeddings added; the whole text before the speech.

    <|im_start|>assistant⏎    -                         the role, text alone (behind it the instruction's turn, if any)
    tts_pad … tts_bos         think … language … pad    the language's mark, the speaker, codec_pad
    text, tts_eos             codec_pad each
    tts_pad                   codec_bos                 the first frame is predicted here

This is upstream's `non_streaming_mode`, its default for CustomVoice and VoiceDesign: behind the prompt a frame's text
is tts_pad throughout. Left out: its other mode, where the text comes with the frames; a recording in the prompt, and
the speaker encoder: the base takes its vectors as they are.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.activations import ACT2FN

from arl.errors import ArlError
from arl.models.qwen3_tts.layout import CODES, PROJECTION, TEXT, Sizes

LANGUAGES = {"zh": "chinese", "en": "english", "de": "german", "it": "italian", "pt": "portuguese", "es": "spanish",
             "ja": "japanese", "ko": "korean", "fr": "french", "ru": "russian"}  # fmt: skip


ROLE, BEHIND = 3, 5  # tokens of `<|im_start|>assistant⏎`, and of what is behind the text in its turn
VECTORS, SPEAKER = "speakers.safetensors", "speaker"


def read_vectors(frontend: Path) -> dict[str, Tensor]:
    """The speakers of `arl init --voice`, by name: what the checkpoint's speaker encoder made of a recording [H]."""
    return load_file(frontend / VECTORS) if (frontend / VECTORS).is_file() else {}


class TextTables:
    """Embeddings of texts and of codes, from the checkpoint's shards; rows are read when they are asked for."""

    def __init__(self, checkpoint: Path) -> None:
        self.sizes = Sizes.read(checkpoint)
        self.tensors: dict[str, Any] = {}
        for file in sorted(checkpoint.glob("*.safetensors")):
            shard = safe_open(file, "pt")
            self.tensors |= dict.fromkeys(shard.keys(), shard)

    def tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ArlError(f"no tensor {name}: take the policy from its source again")
        return self.tensors[name].get_tensor(name)

    @cached_property
    def tables(self) -> tuple[Tensor, Tensor]:
        return self.tensor(TEXT), self.tensor(CODES)

    @cached_property
    def projection(self) -> list[Tensor]:
        return [self.tensor(f"{PROJECTION}linear_fc{i}.{part}") for i in (1, 2) for part in ("weight", "bias")]

    def text(self, ids: Sequence[int]) -> Tensor:
        """Text tokens as the talker reads them [n, H]."""
        first, first_bias, second, second_bias = self.projection
        inner = F.linear(self.tables[0][torch.tensor(ids)], first, first_bias)
        return F.linear(ACT2FN[self.sizes.talker.get("hidden_act", "silu")](inner), second, second_bias)

    def codes(self, ids: Sequence[int]) -> Tensor:
        """Rows of the talker's own table [n, H]."""
        return self.tables[1][torch.tensor(ids)]


class PromptMaker:
    """Text, speaker and language → the prompt's embeddings."""

    def __init__(self, frontend: Path, checkpoint: Path) -> None:
        self.tables = TextTables(checkpoint)
        self.sizes = self.tables.sizes
        self.tokenizer = Tokenizer.from_file(str(frontend / "tokenizer.json"))
        self.vectors = read_vectors(frontend)

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    @torch.no_grad()
    def prompt(self, text: str, speaker: str, language: str, instruction: str = "") -> Tensor:
        """[T, H] in the checkpoint's dtype. speaker, language: "" for none, as upstream's "auto". ArlError for a
        language that it does not speak."""
        fields, talker = self.sizes.fields, self.sizes.talker
        bos, eos, pad = self.tables.text([fields[f"tts_{name}_token_id"] for name in ("bos", "eos", "pad")]).split(1)
        vectors = [self.vectors[speaker][None].to(pad)] if speaker in self.vectors else []
        marks = torch.cat([self.tables.codes(self.marks(speaker, language)), *vectors])  # [n, H]
        codec_pad, codec_bos = self.tables.codes([talker["codec_pad_id"], talker["codec_bos_id"]]).split(1)
        asked = [self.tables.text(self.ids(f"<|im_start|>user\n{instruction}<|im_end|>\n"))] if instruction else []
        ids = self.ids(f"<|im_start|>assistant\n{text}<|im_end|>\n<|im_start|>assistant\n")
        role, said = self.tables.text(ids[:ROLE]), self.tables.text(ids[ROLE:-BEHIND])
        head = torch.cat([pad.expand(len(marks), -1), bos]) + torch.cat([marks, codec_pad])
        spoken = torch.cat([said, eos]) + codec_pad
        return torch.cat([*asked, role, head, spoken, pad + codec_bos])

    def marks(self, speaker: str, language: str) -> list[int]:
        """Rows of the talker's table in front of codec_pad: how the language is told, and the speaker."""
        talker = self.sizes.talker
        known = talker.get("codec_language_id") or {}
        dialect = (talker.get("spk_is_dialect") or {}).get(speaker)
        name = dialect if dialect and language in ("", "chinese") else language
        if name and name not in known:
            raise ArlError(f"language {name!r}: it speaks {', '.join(sorted(known))}")
        before, after = talker["codec_think_bos_id"], talker["codec_think_eos_id"]
        marks = [talker["codec_think_id"], before, known[name], after] if name else [
            talker["codec_nothink_id"], before, after
        ]  # fmt: skip
        own = self.sizes.speakers.get(speaker, [])
        return [*marks, *(own if isinstance(own, list) else [own])]
