"""Faults of a waveform that do not depend on its words: clipping, silence, a long gap.

    faults(samples, Limits())    # ["gap"]

Left out: clicks, buzz and noise, which a predicted opinion score (arl/audio/quality.py) hears.
"""

from dataclasses import dataclass, field

import numpy as np

from arl.audio.io import SAMPLE_RATE

RULES = ("clipped", "silent", "gap")
FRAME = SAMPLE_RATE // 50  # samples, 20 ms
FULL_SCALE = 0.999  # from here on a sample counts as clipped: 32 steps of 16 bits below the limit
FLOOR_DB = -120.0


@dataclass(frozen=True)
class Limits:
    """clip_share: of the samples at full scale. silent_db: of the whole clip, RMS in dBFS. gap_s: seconds in a row that
    are gap_db below the clip's loudest 20 ms, at its ends too. off: rules that are not checked."""

    clip_share: float = 0.001
    silent_db: float = -50.0
    gap_s: float = 1.0
    gap_db: float = 40.0
    off: frozenset[str] = field(default_factory=frozenset)


def faults(samples: np.ndarray, limits: Limits) -> list[str]:
    """The rules that fire on float32 [n] at 16 kHz, in the order of RULES. A silent clip is not checked for gaps."""
    silent = decibels(samples) < limits.silent_db
    found = {
        "clipped": float(np.mean(np.abs(samples) >= FULL_SCALE)) > limits.clip_share,
        "silent": silent,
        "gap": not silent and longest_gap(samples, limits.gap_db) > limits.gap_s,
    }
    return [rule for rule in RULES if found[rule] and rule not in limits.off]


def longest_gap(samples: np.ndarray, below_db: float) -> float:
    """Seconds of the longest run of 20 ms frames that are `below_db` or more below the loudest one."""
    frames = np.split(samples, range(FRAME, len(samples), FRAME))
    levels = np.array([decibels(frame) for frame in frames])
    quiet = np.concatenate(([False], levels <= levels.max() - below_db, [False]))
    edges = np.flatnonzero(np.diff(quiet.astype(int)))
    return float(np.max(edges[1::2] - edges[::2], initial=0)) * FRAME / SAMPLE_RATE


def decibels(samples: np.ndarray) -> float:
    """RMS in dB of full scale, -120 at least."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(FLOOR_DB, 10 * float(np.log10(max(power, 1e-30))))
