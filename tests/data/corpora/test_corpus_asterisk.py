"""The texts of the Asterisk prompts as they are said, and the corpus itself from its packages."""

import gzip
from pathlib import Path

import pytest

from arl.audio.io import load
from arl.data.corpora.asterisk import N_UTTERANCES, number_words, read_texts, spoken, utterances


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Please enter your password followed by the pound key.",) * 2,
        ("[this is a simple beep tone]", ""),
        ("<beep ascending>", ""),
        ("(2 seconds of silence)", ""),
        ("at [@]", "at"),
        ("... letters of your party's last name.", "letters of your party's last name."),
        ("To exit the menu...", "To exit the menu"),
        ("Press 1 to mute,  2 to unmute.", "Press one to mute, two to unmute."),
        ("press # to enter, or * to exit", "press pound to enter, or star to exit"),
        ("3D audio disabled", "three D audio disabled"),
        ("a 28.8 kilobit modem", "a twenty eight point eight kilobit modem"),
        ("dial 8500.", "dial eight five zero zero."),
    ],
)
def test_spoken(written: str, said: str) -> None:
    assert spoken(written) == said


def test_numbers() -> None:
    assert [number_words(n) for n in ("2", "12", "42", "600")] == ["two", "twelve", "forty two", "six zero zero"]


def test_text_list(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt.gz"
    listing.write_bytes(gzip.compress(b"; Core sounds\n\nhello: Hello.\ndigits/1: one\nvm-a:  Press 1: now\n"))
    assert read_texts(listing) == {"hello": "Hello.", "digits/1": "one", "vm-a": "Press 1: now"}


@pytest.mark.registry
def test_corpus_from_its_packages() -> None:
    found = {utterance.key: utterance for utterance in utterances()}
    assert len(found) == N_UTTERANCES
    assert found["agent-pass"].text == "Please enter your password followed by the pound key."
    clip = found["agent-pass"].audio
    assert isinstance(clip, Path) and len(load(clip)) == 2 * clip.stat().st_size
    seconds = sum(utterance.audio.stat().st_size / 8000 for utterance in found.values())  # type: ignore[union-attr]
    assert seconds / 60 == pytest.approx(24.2, abs=0.1)
    assert not any(char.isdigit() for utterance in found.values() for char in utterance.text)
