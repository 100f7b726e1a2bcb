"""Texts and voices as the LM's prompt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError
from arl.models.qwen2_flow import vocabulary
from arl.models.qwen2_flow.prompts import Voice, load_voices, longest_response, prompt_of, save_voices
from arl.text import letters

VOICE = Voice("ann", "hello", [5, 0, 17], np.array([0.5, -1], dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Press one, please.", "press one please"),
        ("  It’s   fine — really! ", "it's fine really"),
        ("Café naïve", "cafe naive"),
        ("tab\tand\nline", "tab and line"),
    ],
)
def test_texts_become_letters(text, said):
    assert letters.spoken(text) == said


@pytest.mark.parametrize("text", ["press 1", "fish & chips", "50 %", "привет", "你好", "", " ... "])
def test_what_would_be_left_unsaid_is_refused(text):
    with pytest.raises(ArlError, match=r"spell it out|nothing to speak"):
        letters.spoken(text)


@given(st.text(alphabet=letters.LETTERS, min_size=1).filter(str.strip))
def test_every_text_of_letters_is_spoken_as_it_is(text):
    assert letters.spoken(text) == " ".join(text.split())
    ids = vocabulary.text_ids(text)
    assert "".join(vocabulary.SYMBOLS[i] for i in ids) == " ".join(text.split())


def test_the_prompt_has_both_texts_then_the_voice_speaking():
    ids = prompt_of("A bee", VOICE)
    words = [vocabulary.SYMBOLS[i] for i in ids[:-3]]
    assert words == ["<s>", *"hello a bee", "<speech>"]
    assert ids[-3:] == [vocabulary.ACOUSTIC_FIRST + code for code in (5, 0, 17)]
    assert longest_response("A bee", 8) == 41


def test_voices_are_kept_in_their_order(tmp_path):
    bob = Voice("bob", "good day", [1], np.zeros(2, dtype=np.float32))
    save_voices([bob, VOICE], tmp_path / "frontend")
    found = load_voices(tmp_path / "frontend")
    assert list(found) == ["bob", "ann"] and found["ann"].codes == VOICE.codes and found["bob"].text == "good day"
    assert found["ann"].speaker.tolist() == [0.5, -1]
    with pytest.raises(ArlError, match="no synthesis policy"):
        load_voices(tmp_path)
