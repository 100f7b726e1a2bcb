"""The recogniser that transcribes synthesised speech for its word error rate: Whisper with greedy decoding.

    Judge.load(None).transcribe([load(Path("clip.flac"))])    # ["Please leave a message."]

Any Whisper checkpoint folder; by default tiny.en (MIT), which `arl.audio.whisper` makes from a package. Input is the
first 30 s of a clip, padded to 30 s: on shorter windows, at a third of the cost, Whisper repeats its sentences. It is
another recogniser than the one that gives the reward in training. Left out: languages other than English where
the default is used.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from arl.audio.io import SAMPLE_RATE
from arl.audio.whisper import NO_TIMESTAMPS
from arl.audio.whisper_packages import whisper_tiny_en
from arl.errors import ArlError
from arl.runtime.device import quiet_transformers

BATCH = 16  # clips at a time
LONGEST = 128  # tokens of a transcript: more than anyone says in 30 s of a command or a sentence
SHORTEST = SAMPLE_RATE // 50  # samples: less is no speech


class Judge:
    """A loaded Whisper."""

    def __init__(self, model: Any, features: Any, tokenizer: Any) -> None:
        self.model, self.features, self.tokenizer = model, features, tokenizer

    @classmethod
    def load(cls, folder: Path | None, device: str = "cpu") -> "Judge":
        """From a checkpoint folder, None: tiny.en. ArlError when it holds no Whisper, or a tensor is missing or not
        finite."""
        return _load(folder, device)

    def transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
        """float32 [n] at 16 kHz each → texts, as Whisper writes them; "" for under 20 ms."""
        texts = [""] * len(waves)
        heard = [place for place, wave in enumerate(waves) if len(wave) >= SHORTEST]
        for start in range(0, len(heard), BATCH):
            places = heard[start : start + BATCH]
            clips = [waves[place] for place in places]
            features = self.features(clips, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            with torch.no_grad():
                ids = self.model.generate(features.to(self.model.device), max_new_tokens=LONGEST, do_sample=False)
            for place, text in zip(places, self.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
                texts[place] = text.strip()
        return texts


@functools.cache
def _load(folder: Path | None, device: str) -> Judge:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    quiet_transformers()
    folder = folder or whisper_tiny_en()
    try:
        model, report = WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, trust_remote_code=False
        )
        features = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ArlError(f"{folder}: no Whisper checkpoint there ({str(error).splitlines()[0]})") from error
    refuse_damaged(model, report, folder)
    # transformers keeps no token of that name in generation_config.json, and without it leaves the choice to the model
    model.generation_config.no_timestamps_token_id = tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)
    return Judge(model.to(device).eval().requires_grad_(False), features, tokenizer)


def refuse_damaged(model: Any, report: Mapping[str, Any], folder: Path | str) -> None:
    """ArlError for a tensor that transformers has made up at random, and for values that are not finite."""
    damaged = [name for name, tensor in model.named_parameters() if not torch.isfinite(tensor).all()]
    for problem, names in (("is missing", report["missing_keys"]), ("has NaN or infinite values", damaged)):
        if names:
            raise ArlError(f"{folder}: tensor {min(names)} {problem}: take the checkpoint from its source again")
