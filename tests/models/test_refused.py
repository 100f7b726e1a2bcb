"""Checkpoints that no family takes: one line with the reason, and what is taken."""

import json
from pathlib import Path
from typing import Any

import pytest

from arl.errors import ArlError
from arl.models import recognised
from arl.models.checkpoint import Checkpoint


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "qwen2"}, "a text LM: it hears nothing"),
        ({"model_type": "bert"}, "a text encoder"),
        ({"model_type": "csm"}, "a speech synthesis model"),
        ({"model_type": "speecht5"}, "a speech synthesis model"),
        ({"model_type": "lasr_ctc"}, "a CTC model"),
        ({"model_type": "parakeet_tdt"}, "a transducer"),
        ({"model_type": "speech_to_text"}, "an encoder-decoder"),
        ({"model_type": "voxtral_realtime"}, "a streaming model"),
        ({"model_type": "nemotron_h_omni"}, "mixes attention with recurrent layers"),
        ({"model_type": "phi4mm", "auto_map": {"AutoModel": "m.Model"}}, "with code of its own"),
        ({"model_type": "kimi_audio", "auto_map": {"AutoModel": "m.Model"}}, "arl runs none"),
        ({}, "no config.json with a model_type"),
    ],
)
def test_one_line_says_why_and_what_is_taken(config: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArlError) as refused:
        recognised(Checkpoint(str(tmp_path)))
    line = str(refused.value)
    assert why in line and "Qwen3-ASR" in line and "Whisper" in line and "\n" not in line


def test_a_pickle_without_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    with pytest.raises(ArlError, match="its weights are a pickle, which can run code"):
        recognised(Checkpoint(str(tmp_path)))
