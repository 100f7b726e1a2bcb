"""The waveforms of a group of hypotheses, for reward programs on audio.

    waves = read_waves(utterance.hyps, "mos")     # [G]: float32 [n] at 16 kHz, or None

Left out: reading them only once for several reward programs of a run; a clip takes a millisecond.
"""

import sys
from collections.abc import Sequence

import numpy as np

from arl.audio.io import load
from arl.errors import ArlError
from arl.rewards.programs.utterance import RewardHypothesis
from arl.shards.place import AudioSlice


def read_waves(hyps: Sequence[RewardHypothesis], program: str) -> list[np.ndarray | None]:
    """The waveform of each hypothesis, mono at 16 kHz; None where a hypothesis has none or it cannot be read. The
    latter is named on stderr as excluded by `program`."""
    return [None if hyp.wav is None else read_wave(hyp.wav, program) for hyp in hyps]


def read_wave(clip: AudioSlice, program: str) -> np.ndarray | None:
    """float32 [n] at 16 kHz, or None, with a line on stderr, where it cannot be read."""
    place = f"{clip.path} at byte {clip.offset}"
    try:
        return load(clip.read(), name=place)
    except (ArlError, OSError) as error:
        print(f"{program}: {error if isinstance(error, ArlError) else f'{place}: {error}'}; excluded", file=sys.stderr)
        return None
