"""What listens to synthesised speech: a recogniser, a speaker embedding, a quality predictor, a pitch tracker.

listeners_of(options, "cpu")       # loads the judge and the voices; the other models load with the first waveform
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from arl.audio.judge import Judge
from arl.audio.pitch import SEMITONES, pitch_std
from arl.audio.quality import mos
from arl.audio.speaker import embedding
from arl.audio.waves import read_wave
from arl.errors import UsageError
from arl.evaluation.options import SynthesisOptions
from arl.evaluation.synthesis.measure import Listeners
from arl.evaluation.voices import Voices
from arl.rewards.programs.utterance import Utterance

SKIPPED = ("wer", "similarity", "mos", "f0")


def listeners_of(options: SynthesisOptions, device: str) -> Listeners:
    """All listeners but the skipped ones. UsageError for an unknown word of `--skip`."""
    skipped = set(filter(None, options.skip.split(",")))
    if unknown := skipped - set(SKIPPED):
        raise UsageError(f"--skip {sorted(unknown)[0]}: of {', '.join(SKIPPED)}")
    return Listeners(
        transcribe=None if "wer" in skipped else Judge.load(options.judge, device).transcribe,
        mos=None if "mos" in skipped else lambda waves: mos(waves, device),
        f0_std=None if "f0" in skipped else f0_std,
        embed=None if "similarity" in skipped else lambda wave: embedding(wave, device),
        voice=None if "similarity" in skipped else voice_of(options.voices, device),
    )


def f0_std(wave: np.ndarray) -> float | None:
    """Standard deviation of F0 in semitones; None without voiced frames."""
    octaves = pitch_std(wave)
    return None if octaves is None else SEMITONES * octaves


def voice_of(voices: Path | None, device: str) -> Callable[[Utterance], np.ndarray | None]:
    """The utterance → the embedding of its voice, None where there is no reference."""
    known = Voices.load(voices) if voices else Voices({})

    @functools.cache
    def named(name: str) -> np.ndarray | None:
        wave = known.of(name)
        return None if wave is None else embedding(wave, device)

    def voice(utterance: Utterance) -> np.ndarray | None:
        if utterance.audio is not None and voices is None:
            wave = read_wave(utterance.audio, "eval: reference")
            return None if wave is None else embedding(wave, device)
        return named(str(utterance.meta.get("voice") or utterance.meta.get("speaker") or ""))

    return voice
