"""Synthetic English speech to train a first policy on: texts from WordNet and templates, one voice, varied.

Texts: example sentences of WordNet 3.0 (Debian package wordnet-base), telephone-style prompts from templates, and
single WordNet words. Speech: hibari-tts (Apache-2.0, its weights included), with random rate, pitch, level, silence
around it and noise. Everything follows from the seed: the same versions of hibari-tts, onnxruntime, inflect and scipy
give the same samples. Left out: other voices, and texts with figures in them.

    arl data --synthetic 14000,3500,1500 -o data/synthetic --against data/test
"""

import functools
import importlib.metadata
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from arl.data.corpora.telephone import prompt
from arl.data.corpora.utterance import DEFAULTS, Corpus, CorpusUtterance, SourceOptions
from arl.errors import ArlError, UsageError
from arl.runtime.debian import debian

NAME = "synthetic speech"
SPEAKER = "hibari-heart"
WORDNET = ("wordnet-base", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752")
HIBARI = "0.2.1"
N_DRAWN = 6000  # prompts drawn from the templates, of which the distinct ones are used
SAMPLE_RATE, HIBARI_RATE = 16000, 24000
MAX_S = 20.0

LICENCE = """\
The speech in these shards was made by hibari-tts 0.2.1 (Apache-2.0); no person has said it. The sentences and words
come from WordNet 3.0, Copyright 2006 by Princeton University, used under the WordNet 3.0 licence, which permits use,
copying, modification and distribution for any purpose without fee provided that its notice is kept:
https://wordnet.princeton.edu/license-and-commercial-use
"""


def corpus(spec: str, options: SourceOptions = DEFAULTS) -> Corpus:
    """spec: 'EXAMPLES,TELEPHONE,WORDS', how many texts of each kind; ',clean' behind it: not varied.

    Raises UsageError, and ArlError without hibari.
    """
    counts = spec.removesuffix(",clean")
    say = clean_speech if counts != spec else speech
    try:
        n_examples, n_telephone, n_words = (int(part) for part in counts.split(","))
        if min(n_examples, n_telephone, n_words) < 0:
            raise ValueError
    except ValueError as error:
        raise UsageError(
            f"--synthetic {spec}: three counts, as in 14000,3500,1500 (sentences, prompts, words)"
        ) from error
    identity = [
        WORDNET,
        spec,
        options.seed,
        _hibari_version(),
        *(importlib.metadata.version(p) for p in ("inflect", "scipy")),
    ]
    return Corpus(
        NAME,
        lambda scratch: utterances(options.seed, n_examples, n_telephone, n_words, say),
        identity=identity,
        licence=LICENCE,
    )


def utterances(
    seed: int, n_examples: int, n_telephone: int, n_words: int, say: Callable[[str, int], np.ndarray]
) -> Iterator[CorpusUtterance]:
    """The texts, each with the speech made when it is asked for; utterance i has seed i."""
    for index, text in enumerate(texts(seed, n_examples, n_telephone, n_words)):
        yield CorpusUtterance(f"synthetic-{index:06d}", text, functools.partial(say, text, index), "en", SPEAKER)


def texts(seed: int, n_examples: int, n_telephone: int, n_lemmas: int) -> list[str]:
    """Distinct texts of a-z, apostrophe and space, in random order; as many of each kind as there are, at most."""
    rng = random.Random(seed)
    examples, lemmas = wordnet()
    rng.shuffle(examples)
    rng.shuffle(lemmas)
    prompts = sorted({prompt(rng) for _ in range(N_DRAWN)})
    rng.shuffle(prompts)
    chosen = examples[:n_examples] + prompts[:n_telephone] + lemmas[:n_lemmas]
    rng.shuffle(chosen)
    return chosen


def wordnet() -> tuple[list[str], list[str]]:
    """(example sentences of up to 14 words, the first word of each sense), plain, sorted, without repetition."""
    folder = debian(*WORDNET) / "usr/share/wordnet"
    examples, lemmas = set(), set()
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_bytes().decode("latin-1").rstrip("\n").split("\n"):
            if line.startswith("  "):  # the licence
                continue
            head, gloss = line.split("|", 1)
            examples.update(re.findall(r'"([^"]+)"', gloss))
            lemmas.add(head.split()[4].split("(")[0].replace("_", " "))
    sentences = {text for raw in examples if (text := plain(raw)) and len(text.split()) <= 14 and len(text) < 80}
    words = {text for raw in lemmas if (text := plain(raw)) and 2 < len(text) < 25}
    return sorted(sentences), sorted(words)


def plain(text: str) -> str:
    """Lower case, only a-z, apostrophe and single spaces; '' for a text with figures or a semicolon."""
    text = text.lower().replace("-", " ")
    return "" if re.search(r"[0-9;]", text) else " ".join(re.sub(r"[^a-z' ]", " ", text).split())


def speech(text: str, seed: int) -> np.ndarray:
    """float32 [n] at 16 kHz, a multiple of 1/32768: `text` said once. Raises ArlError when the voice fails at it."""
    rng = random.Random(seed)
    rate, speed = rng.uniform(0.84, 1.2), rng.uniform(0.85, 1.25)
    said = text.capitalize() + rng.choice([".", "", "?", "."])
    # played back `rate` times as fast, pitch included: the voice makes up for the speed
    wave = _said(text, said, min(2, max(0.5, speed / rate)), rate, seed) * rng.uniform(0.2, 0.95)
    before, after = (np.zeros(int(rng.uniform(0, 0.25) * SAMPLE_RATE)) for _ in range(2))
    wave = np.concatenate([before, wave, after])
    wave = wave + np.random.default_rng(seed).normal(size=len(wave)) * 10 ** rng.uniform(-4.5, -2.2)
    return _rounded(wave)


def clean_speech(text: str, seed: int) -> np.ndarray:
    """As `speech`, at the voice's own pitch and about its own speed, one level, without noise: what a synthesis policy
    learns to say."""
    wave = 0.6 * _said(text, text.capitalize() + ".", random.Random(seed).uniform(0.92, 1.08), 1.0, seed)
    pause = np.zeros(SAMPLE_RATE // 25)
    return _rounded(np.concatenate([pause, wave, pause]))


def _said(text: str, said: str, speed: float, rate: float, seed: int) -> np.ndarray:
    """The voice at 16 kHz, played back `rate` times as fast, peak 1. Raises ArlError when it fails at the text."""
    import scipy.signal

    voice = _voice()(said, speed=speed, seed=seed)
    n_samples = int(len(voice) * SAMPLE_RATE / HIBARI_RATE / rate)
    if len(voice) >= HIBARI_RATE * MAX_S or n_samples < SAMPLE_RATE // 10:
        raise ArlError(f"{text!r}: {len(voice) / HIBARI_RATE:.1f} s of speech; 0.1 to {MAX_S:.0f} s are wanted")
    wave = scipy.signal.resample(voice, n_samples)
    return wave / np.abs(wave).max()


def _rounded(wave: np.ndarray) -> np.ndarray:
    """As 16-bit samples are."""
    return (np.clip(wave, -1, 1) * 32767).astype(np.int16).astype(np.float32) / 32768


@cache
def _voice() -> Any:
    """The synthesiser, loaded once in a process."""
    _hibari_version()
    from hibari import Hibari

    return Hibari()


def _hibari_version() -> str:
    try:
        return importlib.metadata.version("hibari-tts")
    except importlib.metadata.PackageNotFoundError as error:
        raise ArlError(f"synthetic speech needs hibari-tts: install hibari-tts=={HIBARI}") from error
