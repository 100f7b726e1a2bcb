"""Tiny configurations of the decoders that policies have, for tests of the trainer and of the engine.

Each is what `make_tiny_policy(model_type=…, **settings)` takes beyond its own.
"""

from typing import Any

LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "factor": 4.0,
    "short_factor": [1.0, 1.2, 1.5, 2.0], "long_factor": [2.0, 3.0, 4.0, 5.0],
}  # fmt: skip
GRANITE = {"embedding_multiplier": 3.0, "logits_scaling": 1.7, "residual_multiplier": 0.6, "attention_multiplier": 0.3}
PHI3 = {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 128, "sliding_window": 200}
DECODERS: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen3": {},
    "llama": {"head_bias": True},
    "mistral": {"sliding_window": 100},
    "granite": GRANITE,
    "phi3": PHI3,  # half of each head turns, by the short factors below 128 positions
}
