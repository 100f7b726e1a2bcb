"""Speech without texts as a folder of clips with labels: transcripts of which Whisper tiny.en is sure; where it says a
sentence again and again, one of them. Only to train on: nothing is tested on them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from arl.audio.io import SAMPLE_RATE, resample
from examples.asr.short_windows import Transcript, transcripts

GAME_RATE = 11025
LEAST_LOG_PROB = -0.5  # mean of a transcript's tokens
MOST_TOKENS = 6, 5  # of a transcript, and more a second
SHORTEST_S, LONGEST_S = 0.4, 20.0


def game_wave(samples: bytes) -> np.ndarray:
    """Unsigned 8-bit samples at 11,025 Hz → float32 [n] at 16 kHz."""
    return resample(np.frombuffer(samples, np.uint8).astype(np.float32) / 128 - 1, GAME_RATE, SAMPLE_RATE)


def write_heard(waves: Mapping[str, np.ndarray], out: Path) -> None:
    """float32 [n] at 16 kHz each → out/NAME.flac and out/NAME.txt, as `arl data --folder` reads them."""
    waves = {name: wave for name, wave in waves.items() if SHORTEST_S <= len(wave) / SAMPLE_RATE <= LONGEST_S}
    heard = transcripts(waves, *MOST_TOKENS)
    labels = {name: label for name in waves if (label := label_of(heard[name]))}
    part = out.with_name(out.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for name, text in labels.items():
        soundfile.write(part / f"{name}.flac", waves[name], SAMPLE_RATE)
        (part / f"{name}.txt").write_text(text + "\n")
    part.rename(out)
    print(f"{out}: {len(labels)} of {len(waves)} clips")


def label_of(heard: Transcript) -> str | None:
    """The text to train on. None for what Whisper is not sure of, or has not ended."""
    words = heard.text.split()
    once = first_of_repeated(words)
    is_whole = heard.is_whole or len(once) < len(words)
    is_said = any(letter.isalpha() for letter in heard.text)
    return " ".join(once) if is_whole and is_said and heard.log_prob >= LEAST_LOG_PROB else None


def first_of_repeated(words: Sequence[str]) -> Sequence[str]:
    """What the words say again and again, where they do: at least half of it, and two words, a second time."""
    said = [word.strip(".,!?").lower() for word in words]
    for period in range(1, len(said)):
        again = said[period:]
        if len(again) >= max(2, period / 2) and again == said[:-period]:
            return words[:period]
    return words
