"""Audio models of transformers by the name of their checkpoint: a folder, or a name on the hub.

    model, features = audio_model("AutoModelForAudioClassification", "superb/wav2vec2-base-superb-er", "cpu")
    model(**features(samples)).logits

No code of a checkpoint runs, and its weights are whole and finite. Clips go one at a time: in most such models padding
changes the result.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import transformers
from safetensors import SafetensorError

from arl.audio.io import SAMPLE_RATE, resample
from arl.audio.judge import refuse_damaged
from arl.errors import ArlError
from arl.runtime.device import quiet_transformers

IDLE = "objective.", "masked_spec_embed"  # of tensors that only training uses, so that checkpoints may lack them


@functools.cache
def audio_model(kind: str, source: str, device: str) -> tuple[Any, Callable[[np.ndarray], Mapping[str, Any]]]:
    """(the model, what makes its inputs [1, …] of samples float32 [n] at 16 kHz). kind: a class of transformers.
    ArlError where the checkpoint holds no such model, or is damaged."""
    quiet_transformers()
    try:
        model, report = getattr(transformers, kind).from_pretrained(
            source, output_loading_info=True, trust_remote_code=False
        )
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ArlError(f"{source}: no checkpoint of {kind} ({reason})") from error
    missing = {name for name in report["missing_keys"] if not any(part in name for part in IDLE)}
    refuse_damaged(model, {**report, "missing_keys": missing}, source)
    model = model.to(device).eval().requires_grad_(False)

    def inputs(samples: np.ndarray) -> Mapping[str, Any]:
        wave = resample(samples, SAMPLE_RATE, extractor.sampling_rate)
        made = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        return {name: tensor.to(device) for name, tensor in made.items()}

    return model, inputs
