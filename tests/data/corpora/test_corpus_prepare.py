"""One utterance becomes the members of a sample; several processes give the same in the same order."""

import functools
import json
from pathlib import Path

import numpy as np
import soundfile

from arl.audio.io import encode_flac, load
from arl.data.corpora.prepare import DurationLimits, Prepared, prepare, prepare_all
from arl.data.corpora.utterance import Bad, CorpusUtterance

RNG = np.random.default_rng(0)
NONE = DurationLimits()
CLIP = (RNG.integers(-3000, 3000, 8000) / 32768).astype(np.float32)


def clip(number: int) -> np.ndarray:
    return CLIP[: 4000 + number]


def good(utterance: CorpusUtterance, limits: DurationLimits = NONE) -> Prepared:
    result = prepare(utterance, limits)
    assert isinstance(result, Prepared), result
    return result


def test_plain_audio_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, CLIP, 16000)
    sample = good(CorpusUtterance("a", "hello", path, "en", "ann", keywords=("hello",)))
    assert sample.members["wav"] == path.read_bytes()
    assert json.loads(sample.members["json"]) == {
        "text": "hello",
        "lang": "en",
        "duration_s": 0.5,
        "speaker": "ann",
        "keywords": ["hello"],
    }
    content = encode_flac(CLIP)
    assert good(CorpusUtterance("a", "hello", content, "en")).members["flac"] == content


def test_everything_else_becomes_flac(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.repeat(CLIP, 2), 32000)
    assert list(good(CorpusUtterance("a", "t", path, "en")).members) == ["flac", "json"]
    cut = good(CorpusUtterance("a", "t", encode_flac(CLIP), "en", start_s=0.1, end_s=0.3))
    assert np.array_equal(load(cut.members["flac"]), CLIP[1600:4800])
    made = good(CorpusUtterance("a", "t", functools.partial(clip, 7), "en"))
    assert np.array_equal(load(made.members["flac"]), clip(7))


def test_limits_leave_out() -> None:
    utterance = CorpusUtterance("a", "t", CLIP, "en")
    assert good(utterance, DurationLimits(0.5, 0.5)).members
    assert not good(utterance, DurationLimits(min_s=0.51)).members
    assert not good(utterance, DurationLimits(max_s=0.49)).members


def test_what_is_wrong_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF....")
    for path in (tmp_path / "a.wav", tmp_path / "missing.wav"):
        result = prepare(CorpusUtterance("a", "t", path, "en"), NONE)
        assert isinstance(result, Bad) and str(path) in result.where and "\n" not in result.reason


def test_cut_flac_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encode_flac(RNG.normal(size=160000).astype(np.float32))[:-20000])
    assert isinstance(prepare(CorpusUtterance("a", "t", path, "en"), NONE), Bad)


def test_processes_give_the_same_in_order() -> None:
    utterances = [CorpusUtterance(f"u{n}", "t", functools.partial(clip, n), "en") for n in range(70)]
    alone = list(prepare_all(utterances, DurationLimits(), 1))
    assert alone == list(prepare_all(utterances, DurationLimits(), 2))
    assert [result.key for result in alone if isinstance(result, Prepared)] == [f"u{n}" for n in range(70)]
