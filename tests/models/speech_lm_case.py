"""A tiny random speech LLM of transformers: its checkpoint, the policy of it, transformers' own model beside it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arl.audio.io import encode_flac
from arl.models import InitOptions, recognised
from arl.models.checkpoint import Checkpoint
from arl.models.speech_lm.source import Source
from arl.policy import Policy
from arl.shards import columns
from arl.shards.writer import write_shard
from tests.models.speech_checkpoints import MAKERS, make_checkpoint

FAMILIES = list(MAKERS)
SECONDS = 0.3, 3.7, 1.2
every_family = pytest.mark.parametrize("name", FAMILIES)


class Case:
    """A family's checkpoint and the policy made of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.checkpoint = make_checkpoint(name, folder / "checkpoint")
        self.family: Any = recognised(Checkpoint(str(self.checkpoint)))
        self.policy = self.family.build(Checkpoint(str(self.checkpoint)), folder / "policy", InitOptions())
        self.folder = folder

    def wave(self, seconds: float) -> np.ndarray:
        rate = self.policy.fields["sample_rate"]
        return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)

    @cached_property
    def processor(self) -> Any:
        return self.family.load_processor(self.checkpoint)

    @cached_property
    def tower(self) -> Any:
        from arl.models.speech_lm.tower import load_tower

        return load_tower(self.family, self.policy.frontend_dir)

    def full(self, folder: Path) -> Any:
        """transformers' own model, every tensor loaded."""
        model_class = self.family.model_class
        if self.family.prefix:
            stored = {n: t for shard in Source(folder, "", "").shards for n, t in load_file(shard).items()}
            weights = {self.family.renamed(n): t for n, t in stored.items()}
            place: Any = {"config": self.family.config(folder), "state_dict": weights}
            model, info = model_class.from_pretrained(None, **place, output_loading_info=True, dtype=torch.float32)
        else:
            model, info = model_class.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        return model.eval()

    def logits(self, model: Any, inputs: Any) -> torch.Tensor:
        torch.manual_seed(7)
        with torch.no_grad():
            return model(**inputs).logits[0]


def build(folder: Path, out: Path, options: InitOptions | None = None) -> Policy:
    checkpoint = Checkpoint(str(folder))
    return recognised(checkpoint).build(checkpoint, out, options or InitOptions())


def load_llm(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def prompt_embeddings(llm: Any, ids: list[int], embeddings: torch.Tensor, audio_token_id: int) -> torch.Tensor:
    """[P, H] of a collapsed prompt."""
    place = ids.index(audio_token_id)
    table = llm.get_input_embeddings()
    with torch.no_grad():
        before, behind = (table(torch.tensor(part, dtype=torch.long)) for part in (ids[:place], ids[place + 1 :]))
    return torch.cat([before, embeddings, behind])


def full_scale(llm: Any) -> float:
    """transformers' whole Granite classes do not divide the logits; the plain class, trained and served, does."""
    return getattr(llm.config, "logits_scaling", 1.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_clips(folder: Path, seconds: dict[str, float], **meta: Any) -> str:
    rng = np.random.default_rng(0)
    waves = {key: (0.1 * rng.standard_normal(round(s * 16_000))).astype(np.float32) for key, s in seconds.items()}
    fields = columns.dumps({"text": "one", **meta})
    rows = [(key, {"flac": encode_flac(wave, 16_000), columns.META: fields}) for key, wave in waves.items()]
    write_shard(folder / "000000.tar", rows)
    return str(folder)
