"""Synthetic speech: equal seeds give equal texts and samples; the pinned ones are the starting policy's data."""

import hashlib
import importlib.util
import random
import re

import numpy as np
import pytest

from arl.data.corpora import synthetic
from arl.data.corpora.synthetic import plain, speech
from arl.data.corpora.telephone import prompt
from arl.errors import UsageError

needs_voice = pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")


def test_prompts_follow_from_the_seed() -> None:
    first, second = ([prompt(rng) for _ in range(30)] for rng in (random.Random(5), random.Random(5)))
    assert first == second and len(set(first)) > 25
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", text) for text in first)


def test_plain_texts() -> None:
    assert plain("He's a well-known  man!") == "he's a well known man"
    assert plain("in 1990") == plain("one; two") == ""


def test_counts_are_checked() -> None:
    for spec in ("1,2", "a,b,c", "1,2,-3"):
        with pytest.raises(UsageError, match="three counts"):
            synthetic.corpus(spec)


@needs_voice
def test_speech_follows_from_the_seed() -> None:
    first, second = speech("good morning", 4), speech("good morning", 4)
    assert np.array_equal(first, second) and not np.array_equal(first[:8000], speech("good morning", 5)[:8000])
    assert first.dtype == np.float32 and 0.1 < np.abs(first).max() < 1 and 8000 < len(first) < 48000
    assert np.array_equal(first * 32768, np.rint(first * 32768))


@pytest.mark.registry
def test_texts_of_the_starting_policy() -> None:
    texts = synthetic.texts(1, 14000, 3500, 1500)
    assert len(texts) == 19000
    assert (
        hashlib.sha256("\n".join(texts).encode()).hexdigest()
        == "1cd4c00b0f9971d6e286caf057eb061c83f3d2c40a292e98eef95da4b912c1ba"
    )


@needs_voice
def test_clean_speech_is_level_and_without_noise() -> None:
    wave = synthetic.clean_speech("good morning", 4)
    assert np.array_equal(wave, synthetic.clean_speech("good morning", 4))
    assert np.abs(wave).max() == pytest.approx(0.6, abs=1e-3) and not wave[:600].any() and not wave[-600:].any()
    assert np.abs(speech("good morning", 4)[:600]).max() > 0  # the varied one has a noise floor
