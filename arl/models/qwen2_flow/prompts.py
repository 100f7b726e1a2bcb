"""A text and a voice → the LM's prompt: `<s> voice's text, text <speech> voice's codes`, which the speech continues.

As CosyVoice2's zero-shot prompt (arXiv 2412.10117, section 2.3): the LM reads both texts and has the first spoken in
front of it. A voice is a short recording that the policy folder carries (`frontend/voices.*`). No torch.

    voices = load_voices(policy.frontend_dir); prompt_of("press one", voices["ann"])   # [1, …, 3, 530, …]
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from arl.errors import ArlError
from arl.models.qwen2_flow.vocabulary import SPEECH, START, acoustic_ids, text_ids
from arl.shards.rows.form import are_ids

AGAIN = "take the policy from its source again"
LONGEST = 5  # acoustic tokens per character of text that a response may have (20 per word piece); speech has about 2


@dataclass(frozen=True)
class Voice:
    """text: what the recording says; codes: the recording, 25 a second; speaker: float32 [S], for the decoder."""

    name: str
    text: str
    codes: list[int]
    speaker: np.ndarray


def load_voices(frontend_dir: Path) -> dict[str, Voice]:
    """The voices of a policy by name, in the file's order. ArlError when there are none."""
    texts, tensors = frontend_dir / "voices.json", frontend_dir / "voices.safetensors"
    if not texts.is_file() or not tensors.is_file():
        raise ArlError(f"{frontend_dir}: no voices.json and voices.safetensors; this is no synthesis policy")
    try:
        found, names = load_file(tensors), json.loads(texts.read_text(encoding="utf-8"))
        voices = {
            name: Voice(name, str(fields["text"]), found[f"{name}.codes"].tolist(), found[f"{name}.speaker"])
            for name, fields in names.items()
        }
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArlError(f"{frontend_dir}: voices.json or voices.safetensors is damaged ({error}): {AGAIN}") from error
    for name, voice in voices.items():
        if not are_ids(voice.codes) or voice.speaker.ndim != 1 or not np.isfinite(voice.speaker).all():
            raise ArlError(f"{tensors}: voice {name!r} has no codes, or no finite speaker vector: {AGAIN}")
    return voices


def save_voices(voices: list[Voice], frontend_dir: Path) -> None:
    frontend_dir.mkdir(parents=True, exist_ok=True)
    texts = {voice.name: {"text": voice.text} for voice in voices}
    (frontend_dir / "voices.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n")
    tensors = {f"{voice.name}.codes": np.asarray(voice.codes, dtype=np.int64) for voice in voices}
    tensors |= {f"{voice.name}.speaker": np.asarray(voice.speaker, dtype=np.float32) for voice in voices}
    save_file(tensors, frontend_dir / "voices.safetensors")


def prompt_of(text: str, voice: Voice) -> list[int]:
    """Token ids of the prompt. ArlError for a text that the LM has no letters for."""
    return [START, *text_ids(f"{voice.text} {text}"), SPEECH, *acoustic_ids(voice.codes)]


def longest_response(text: str, per_character: float = LONGEST) -> int:
    """How many tokens a response to this text may have, the stop token included."""
    return math.ceil(per_character * len(text_ids(text))) + 1
