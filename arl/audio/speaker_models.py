"""Speaker embeddings by a model of one's own, in place of the packaged one (speaker.py).

    embedding_by("campplus.onnx", samples)                    # CAM++, ERes2Net and their like, by onnxruntime
    embedding_by("microsoft/wavlm-base-plus-sv", samples)     # an x-vector checkpoint of transformers

An ONNX file takes Kaldi's filter banks [1, T, 80] of 16 kHz less their mean over time, as 3D-Speaker and CosyVoice
compute them, and gives one vector. Left out: files that take waveforms; onnxruntime on a GPU.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchaudio.compliance import kaldi

from arl.audio.checkpoint import audio_model
from arl.audio.io import SAMPLE_RATE
from arl.audio.onnx_session import opened
from arl.errors import ArlError

SHORTEST_S = 0.4  # of a clip; less says nothing about a speaker
BANKS = 80


def embedding_by(model: str, samples: np.ndarray, device: str = "cpu") -> np.ndarray | None:
    """float32 [n] at 16 kHz → float32 [D] of length 1; None for digital silence and clips under 0.4 s.

    model: a .onnx file, or a checkpoint of transformers. ArlError where it is none.
    """
    if len(samples) < SHORTEST_S * SAMPLE_RATE or not samples.any():
        return None
    vector = by_onnx(Path(model), samples) if model.endswith(".onnx") else by_checkpoint(model, samples, device)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def by_checkpoint(source: str, samples: np.ndarray, device: str) -> np.ndarray:
    """The x-vector of a checkpoint, float32 [D]."""
    model, inputs = audio_model("AutoModelForAudioXVector", source, device)
    with torch.no_grad():
        return model(**inputs(samples)).embeddings[0].float().cpu().numpy()


def by_onnx(file: Path, samples: np.ndarray) -> np.ndarray:
    """The vector of an ONNX file, float32 [D]."""
    session, name = speaker_session(file)
    found = np.asarray(session.run(None, {name: centred_banks(samples)[None]})[0], dtype=np.float32)
    if found.size != found.shape[-1]:
        raise ArlError(f"{file}: gives {list(found.shape)} numbers, not one vector of a speaker")
    return found.flatten()


def centred_banks(samples: np.ndarray) -> np.ndarray:
    """float32 [n] at 16 kHz → Kaldi's log filter banks less their mean over time, float32 [T, 80]."""
    banks = kaldi.fbank(torch.from_numpy(samples)[None], num_mel_bins=BANKS, dither=0.0, sample_frequency=SAMPLE_RATE)
    return (banks - banks.mean(0, keepdim=True)).numpy()


@functools.cache
def speaker_session(file: Path) -> tuple[Any, str]:
    """(an ONNX file opened, the name of its input). ArlError where it is no speaker model, or without onnxruntime."""
    session = opened(
        file,
        "--model is a .onnx file or a checkpoint of transformers",
        "a speaker model in ONNX needs onnxruntime: install arl with the extra tts",
    )
    inputs = session.get_inputs()
    banks = [
        one.name
        for one in inputs
        if len(one.shape) == 3 and (one.shape[2] == BANKS or not isinstance(one.shape[2], int))
    ]
    if len(inputs) != 1 or not banks:
        shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise ArlError(f"{file}: takes {shapes or 'nothing'}; a speaker model takes filter banks [B, T, {BANKS}] alone")
    return session, banks[0]
