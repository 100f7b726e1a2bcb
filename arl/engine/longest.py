"""Up to which length a decoder is the same computation everywhere: in the engine, in the trainer, in transformers.

Two things change it beyond some position. A sliding window: SGLang's classes of Qwen, Llama, Mistral and Phi attend to
everything. A rope that turns to other frequencies in long sequences (`longrope`, `dynamic`): keys that lie in the cache
keep the old ones, and a batch turns as one. Within the limit nothing differs; the engine and the trainer refuse what is
longer. Reads config.json's fields; no imports.
"""

from collections.abc import Mapping
from typing import Any


def rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rope's parameters, of either generation of config.json; {} for a plain one that says nothing."""
    return dict(config.get("rope_parameters") or config.get("rope_scaling") or {})


def rope_limit(config: Mapping[str, Any]) -> int | None:
    """Positions before the rope turns to other frequencies; None where it never does."""
    rope = rope_of(config)
    kind = rope.get("rope_type") or rope.get("type")
    if kind not in ("longrope", "su", "dynamic"):
        return None
    original = config.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings")
    return original or config.get("max_position_embeddings")


def window(config: Mapping[str, Any]) -> int | None:
    """Positions that a layer sees where some slide and sequences can be longer; None where all see everything.

    `layer_types` says which slide; where it is absent, a `sliding_window` holds for all.
    """
    size = config.get("sliding_window")
    is_qwen = str(config.get("model_type")).startswith("qwen")  # whose windows are off unless they are asked for
    if not size or not config.get("use_sliding_window", not is_qwen):
        return None
    kinds = config.get("layer_types")
    slides = "sliding_attention" in kinds if kinds else True
    return size if slides and size < (config.get("max_position_embeddings") or float("inf")) else None


def longest_exact(config: Mapping[str, Any]) -> int | None:
    """The smaller of both limits, in positions; None where there is none."""
    limits = [limit for limit in (rope_limit(config), window(config)) if limit]
    return min(limits, default=None)
