"""The transcript in what a model wrote."""

import pytest

from arl.text.transcript import transcript

QUOTED = {"quoted": "The spoken content of the audio is|The transcription of the audio is"}


@pytest.mark.parametrize(
    ("text", "rule", "wanted"),
    [
        ("language English<asr_text>so it is", {"after": "<asr_text>"}, "so it is"),
        ("language None<asr_text>", {"after": "<asr_text>"}, ""),
        ("so it is", {"after": "<asr_text>"}, "so it is"),
        ('assistant\n[{"Start":0,"End":1.5,"Content":"so it"},{"Content":"is"}]\n', {"json": "Content"}, "so it is"),
        ('[{"Start":0,"Content":"so it"},{"Start":1.5,"Cont', {"json": "Content"}, "so it"),
        ("[]", {"json": "Content"}, ""),
        ("so it [is", {"json": "Content"}, "so it [is"),
        ("so it is", {"json": "Content"}, "so it is"),
        ('The spoken content of the audio is "so it is".', QUOTED, "so it is"),
        ("The transcription of the audio is 'so it is'", QUOTED, "so it is"),
        ('"so it is".', QUOTED, '"so it is".'),
        ("so it is.", {}, "so it is."),
    ],
)
def test_transcript(text: str, rule: dict[str, str], wanted: str) -> None:
    assert transcript(text, rule) == wanted
