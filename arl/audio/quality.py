"""Naturalness of speech: a predicted mean opinion score.

    mos([load(Path("clip.flac"))])   # [4.3]

By DistillMOS (Stahl & Gamper 2025, arXiv 2502.05356; MIT; its wheel has the weights, nothing is downloaded; the
extra `tts`), distilled from a model of listeners' ratings, 1 (bad) to 5 (excellent). Left out: separate scores of
noise and colouration.
"""

import contextlib
import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from arl.errors import ArlError

WINDOW = 122_880  # samples the network hears at once, 7.68 s; it pads shorter clips and cuts longer ones into windows
BATCH = 8  # windows at a time


def mos(waves: Sequence[np.ndarray], device: str = "cpu") -> list[float | None]:
    """float32 [n] at 16 kHz each → a score of 1 to 5 each; None for digital silence. ArlError without DistillMOS.

    A clip's score does not depend on the others (beyond rounding).
    """
    model = _model(device)
    scores: list[float | None] = [None] * len(waves)
    heard = [place for place, wave in enumerate(waves) if len(wave) and np.any(wave)]
    short = [place for place in heard if len(waves[place]) <= WINDOW]
    batches = [short[start : start + BATCH] for start in range(0, len(short), BATCH)]
    batches += [[place] for place in heard if len(waves[place]) > WINDOW]
    with torch.no_grad():
        for batch in batches:
            padded = np.zeros((len(batch), max(WINDOW, *(len(waves[place]) for place in batch))), np.float32)
            for row, place in zip(padded, batch, strict=True):
                row[: len(waves[place])] = waves[place]
            found = model(torch.from_numpy(padded).to(device)).flatten().tolist()
            for place, score in zip(batch, found, strict=True):
                scores[place] = score
    return scores


@functools.cache
def _model(device: str) -> Any:
    try:
        from distillmos import ConvTransformerSQAModel
    except ImportError as error:
        raise ArlError("predicted naturalness needs distillmos: install arl with the extra tts") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it says where its weights lie
        model = ConvTransformerSQAModel()
    return model.to(device).eval().requires_grad_(False)
