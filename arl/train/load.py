"""The causal LM of a policy, loaded or taken from the model cache."""

from pathlib import Path
from typing import Any

import torch

from arl.errors import ArlError
from arl.runtime.device import quiet_transformers
from arl.runtime.model_cache import MODEL_CACHE
from arl.train.attention import use_shared_attention
from arl.train.shared_prefix import check_decoder


def llm(folder: Path, device: torch.device) -> Any:
    """The causal LM in `folder` on the device: from the model cache, or loaded."""
    model = MODEL_CACHE.pop(folder)
    return load_llm(folder, device) if model is None else model.to(device)


def load_llm(folder: Path, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """A causal LM for training or scoring: dropout off, attention that packs. ArlError for unsupported decoders."""
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", attn_implementation="sdpa")
    except (OSError, ValueError) as error:
        raise ArlError(f"{folder}: cannot be loaded ({str(error).splitlines()[0]})") from error
    check_decoder(model.config)
    return use_shared_attention(model.to(device).eval())
