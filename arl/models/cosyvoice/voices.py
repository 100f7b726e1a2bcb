"""The voices of a policy: short recordings that its speech continues, from upstream's spk2info.pt or as ready tensors.

    voices = load_voices(policy.frontend_dir); voices["ann"].codes

Files in `frontend/`: speakers.json ({name: {"text": token ids}}) and speakers.safetensors (`NAME.codes`, `.mel`,
`.speaker`). No torch. Left out: what makes a voice of a recording
(recording.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from arl.errors import ArlError, UsageError

TEXTS, TENSORS = "speakers.json", "speakers.safetensors"
MELS_PER_CODE, N_MELS = 2, 80


@dataclass(frozen=True)
class Voice:
    """text: token ids of what the recording says; codes: the recording, 25 a second, each below C; mel: float32
    [2 n, 80] of it; speaker: float32 [S]. Without a text the LM does not hear it: a cross-lingual prompt."""

    name: str
    text: Sequence[int]
    codes: Sequence[int]
    mel: np.ndarray
    speaker: np.ndarray


def load_voices(frontend_dir: Path) -> dict[str, Voice]:
    """The voices of a policy by name, in the file's order. ArlError where a file is missing."""
    texts, tensors = frontend_dir / TEXTS, frontend_dir / TENSORS
    if not texts.is_file() or not tensors.is_file():
        raise ArlError(f"{frontend_dir}: no {TEXTS} and {TENSORS}; take the policy from its source again")
    found = load_file(tensors)
    return {
        name: Voice(name, row["text"], found[f"{name}.codes"].tolist(), found[f"{name}.mel"], found[f"{name}.speaker"])
        for name, row in json.loads(texts.read_text(encoding="utf-8")).items()
    }


def save_voices(voices: Sequence[Voice], frontend_dir: Path) -> None:
    texts = {voice.name: {"text": list(voice.text)} for voice in voices}
    (frontend_dir / TEXTS).write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    tensors: dict[str, np.ndarray] = {}
    for voice in voices:
        tensors[f"{voice.name}.codes"] = np.asarray(voice.codes, dtype=np.int64)
        tensors[f"{voice.name}.mel"] = np.ascontiguousarray(voice.mel, dtype=np.float32)
        tensors[f"{voice.name}.speaker"] = np.ascontiguousarray(voice.speaker, dtype=np.float32)
    save_file(tensors, frontend_dir / TENSORS)


def only(voices: Mapping[str, Voice], asked: str | None) -> Mapping[str, Voice]:
    """The voices that are chosen from: all, or the one of `arl encode --voice`. UsageError where there is none such."""
    if asked is not None and asked not in voices:
        raise UsageError(f"--voice {asked}: the policy has {', '.join(voices)}")
    return voices if asked is None else {asked: voices[asked]}


def from_info(info: Mapping[str, Any], where: Path) -> list[Voice]:
    """The voices of spk2info.pt: those saved with a prompt, and those of a speaker vector alone."""
    return [_of_row(str(name), row, where) for name, row in info.items()]


def _of_row(name: str, row: Any, where: Path) -> Voice:
    try:
        speaker = row["flow_embedding"] if "flow_embedding" in row else row["embedding"]
        codes = row.get("flow_prompt_speech_token")
        mel = row.get("prompt_speech_feat")
        return checked(Voice(
            name,
            _ids(row.get("prompt_text")),
            _ids(codes),
            np.zeros((0, N_MELS), np.float32) if mel is None else mel.float().reshape(-1, N_MELS).numpy(),
            speaker.float().flatten().numpy(),
        ), where)  # fmt: skip
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ArlError(f"{where}: voice {name!r} has not what upstream saves for one ({error!r})") from error


def _ids(tensor: Any) -> list[int]:
    return [] if tensor is None else [int(value) for value in tensor.flatten().tolist()]


def from_tensors(name: str, text: Sequence[int], path: Path) -> Voice:
    """A voice of ready tensors: safetensors with codes int64 [n], mel float32 [2 n, 80] and speaker float32 [S]."""
    try:
        found = load_file(path)
        codes, mel, speaker = (found[part] for part in ("codes", "mel", "speaker"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArlError(f"{path}: no voice: a safetensors file with codes, mel and speaker ({error})") from error
    return checked(Voice(name, text, codes.flatten().tolist(), mel, speaker.flatten()), path)


def checked(voice: Voice, where: Path) -> Voice:
    """The voice. ArlError where its mel does not fit its codes, or a number is not finite."""
    if voice.mel.shape != (MELS_PER_CODE * len(voice.codes), N_MELS):
        raise ArlError(f"{where}: voice {voice.name!r}: mel {list(voice.mel.shape)} for {len(voice.codes)} codes, not "
                       f"[{MELS_PER_CODE * len(voice.codes)}, {N_MELS}]")  # fmt: skip
    if not (np.isfinite(voice.mel).all() and np.isfinite(voice.speaker).all()):
        raise ArlError(f"{where}: voice {voice.name!r} has NaN or infinite values")
    return voice
