"""Recordings → codes, speaker vectors and mels, by the checkpoint's own ONNX files, run by onnxruntime on the CPU.

    listener = Listener(folder, VERSION_2.tokenizer_onnx); voice = listener.voice("ann", text_ids, Path("ann.wav"))

Features are upstream's: Whisper's log-mel of 128 bins for the codes, Kaldi's filter banks less their mean for the
speaker vector, and the flow's own mel at 24 kHz. A session is opened when it is first needed.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from arl.audio.io import load, resample
from arl.audio.onnx_session import opened
from arl.audio.speaker_models import centred_banks
from arl.errors import ArlError
from arl.models.cosyvoice.source import CAMPPLUS
from arl.models.cosyvoice.voices import MELS_PER_CODE, N_MELS, Voice, checked

RATE, FLOW_RATE = 16_000, 24_000  # Hz: of both ONNX models; of the flow's mel
LONGEST_S = 30.0  # upstream's limit of the speech tokenizer


class Listener:
    """folder: where the ONNX files lie; tokenizer: the name of the speech tokenizer's."""

    def __init__(self, folder: Path, tokenizer: str) -> None:
        self.folder, self.name = folder, tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        return session(self.folder / self.name)

    @cached_property
    def speaker_model(self) -> Any:
        return session(self.folder / CAMPPLUS)

    def codes(self, wave: np.ndarray) -> list[int]:
        """Codes, 25 a second, of a recording float32 [n] at 16 kHz. ArlError for one beyond 30 s."""
        if len(wave) > LONGEST_S * RATE:
            raise ArlError(f"{len(wave) / RATE:.1f} s long, and the speech tokenizer hears {LONGEST_S:g} s: cut it")
        mel = whisper_mel(torch.from_numpy(wave))[None].numpy()
        features, length = (one.name for one in self.tokenizer.get_inputs())
        (found, *_) = self.tokenizer.run(None, {features: mel, length: np.array([mel.shape[2]], dtype=np.int32)})
        return np.asarray(found).flatten().astype(int).tolist()

    def speaker(self, wave: np.ndarray) -> np.ndarray:
        """The speaker vector float32 [S] of a recording float32 [n] at 16 kHz."""
        (features,) = (one.name for one in self.speaker_model.get_inputs())
        found = self.speaker_model.run(None, {features: centred_banks(wave)[None]})[0]
        return np.asarray(found, dtype=np.float32).flatten()

    def voice(self, name: str, text: Sequence[int], file: Path, mel_top_hz: float) -> Voice:
        """A voice of a recording, its mel and codes cut to the shorter of them. mel_top_hz: highest frequency of the
        flow's mel. ArlError naming the file."""
        wave = load(file, FLOW_RATE)
        heard = np.ascontiguousarray(resample(wave, FLOW_RATE, RATE), dtype=np.float32)
        try:
            codes, mel = self.codes(heard), flow_mel(torch.from_numpy(wave), mel_top_hz).numpy()
        except ArlError as error:
            raise ArlError(f"{file}: {error}") from error
        n = min(len(codes), len(mel) // MELS_PER_CODE)
        return checked(Voice(name, text, codes[:n], mel[: MELS_PER_CODE * n], self.speaker(heard)), file)


def session(path: Path) -> Any:
    """An ONNX file opened. ArlError where it is missing or damaged, or onnxruntime is not installed."""
    return opened(
        path,
        "recordings need it: take it from the checkpoint, or give a voice as tensors",
        "recordings need onnxruntime: pip install onnxruntime",
    )


def whisper_mel(wave: Tensor) -> Tensor:
    """float32 [n] at 16 kHz → log-mel [128, n // 160], as Whisper's but of any length."""
    power = torch.stft(wave, 400, 160, window=torch.hann_window(400), return_complex=True)[:, :-1].abs().square()
    log = (mel_filters(128, 400, RATE, RATE / 2) @ power).clamp(min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


def flow_mel(wave: Tensor, top_hz: float) -> Tensor:
    """float32 [n] at 24 kHz → log-mel [n // 480, 80] of HiFi-GAN's kind, up to a frequency."""
    padded = F.pad(wave[None], (720, 720), "reflect")[0]
    spectrum = torch.stft(padded, 1920, 480, window=torch.hann_window(1920), center=False, return_complex=True)
    magnitude = (spectrum.abs().square() + 1e-9).sqrt()
    return (mel_filters(N_MELS, 1920, FLOW_RATE, top_hz) @ magnitude).clamp(min=1e-5).log().T


def mel_filters(n_mels: int, n_fft: int, rate: int, highest_hz: float) -> Tensor:
    """Slaney's filters, float32 [n_mels, n_fft / 2 + 1]."""
    return torchaudio.functional.melscale_fbanks(
        n_fft // 2 + 1, 0.0, highest_hz, n_mels, rate, norm="slaney", mel_scale="slaney"
    ).T
