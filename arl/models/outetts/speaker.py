"""A speaker's file of OuteTTS' package (`interface.save_speaker`, version 3) → a voice.

The file has what the recording says, and of each word its time, three features and its codes of both levels.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arl.errors import ArlError, UsageError
from arl.models.codec_lm.voices import Asked, Voice

FEATURES = "energy", "spectral_centroid", "pitch"
VERSION = 3
UNSPACED = ("\u3040", "\u309f"), ("\u30a0", "\u30ff"), ("\u4e00", "\u9fff")  # kana and Han


def read_speaker(asked: Asked) -> Voice:
    """UsageError for what is no speaker's file, ArlError for one of another version or of another form."""
    if asked.file is None or asked.file.suffix != ".json" or asked.said:
        raise UsageError(f"--voice {asked.name}: a voice of OuteTTS is a speaker's file of its own package "
                         "(interface.create_speaker, save_speaker): NAME=speaker.json")  # fmt: skip
    try:
        found = json.loads(asked.file.read_text(encoding="utf-8"))
        if found.get("interface_version", VERSION) != VERSION:
            raise ArlError(f"{asked.file}: a speaker of interface version {found['interface_version']}, not {VERSION}")
        text = str(found["text"]).strip()
        mark = separator(text)
        return Voice(asked.name, text + mark, spoken(found["words"], mark.strip()))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArlError(f"{asked.file}: no speaker's file of OuteTTS ({error!r})") from error


def separator(text: str) -> str:
    """What upstream puts between the speaker's text and the next; no mark where the text ends as a sentence does."""
    if any(low <= letter <= high for letter in text for low, high in UNSPACED):
        return "" if text.endswith(tuple("。？！?!")) else "。"
    return " " if text.endswith(tuple(".?!")) else ". "


def spoken(words: Sequence[Mapping[str, Any]], mark: str) -> str:
    """The words as the LM writes them, `mark` behind the last."""
    marks = [""] * (len(words) - 1) + [mark]
    return "\n".join(word_of(word, end) for word, end in zip(words, marks, strict=True))


def word_of(word: Mapping[str, Any], mark: str) -> str:
    features = "".join(f"<|{name}_{int(word['features'].get(name, 0))}|>" for name in FEATURES)
    codes = "".join(f"<|c1_{int(a)}|><|c2_{int(b)}|>" for a, b in zip(word["c1"], word["c2"], strict=True))
    head = f"<|word_start|>{word['word']}{mark}<|features|><|t_{float(word['duration']):.2f}|>"
    return f"{head}{features}<|code|>{codes}<|word_end|>"
