"""Long clips from neighbours: lengths, order, one speaker, real silence at the seams, and what is said about them."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from arl.audio.io import encode_flac, load
from arl.data.corpora.concatenate import concatenate, duration_s, join, parse, silence
from arl.data.corpora.prepare import DurationLimits, Prepared, prepare
from arl.data.corpora.utterance import Bad, CorpusUtterance
from arl.errors import UsageError

RNG = np.random.default_rng(0)


def clip(number: int, seconds: float, speaker: str = "ann", lang: str = "en") -> CorpusUtterance:
    wave = np.full(round(seconds * 16000), 0.001 * (number + 1), np.float32)
    return CorpusUtterance(f"u{number}", f"Text {number}.", wave, lang, speaker, keywords=(f"Text {number}", "Text"))


def keys(utterance: CorpusUtterance) -> list[str]:
    return [part.key for part in utterance.parts] or [utterance.key]


@given(st.lists(st.tuples(st.floats(0.1, 9), st.sampled_from("ab")), max_size=60), st.integers(0, 3))
def test_every_clip_is_within_the_limits_and_of_one_speaker(drawn: list[tuple[float, str]], seed: int) -> None:
    source = [clip(number, seconds, speaker) for number, (seconds, speaker) in enumerate(drawn)]
    by_key = {utterance.key: utterance for utterance in source}
    long = list(concatenate(source, 5, 7, seed=seed))
    used = [key for utterance in long for key in keys(utterance)]
    assert len(used) == len(set(used))
    for utterance in long:
        assert 5 - 1e-9 <= duration_s(utterance) <= 7 + 1e-9
        assert {by_key[key].speaker for key in keys(utterance)} == {utterance.speaker}
        assert utterance.text == " ".join(by_key[key].text for key in keys(utterance))
        positions = [source.index(by_key[key]) for key in keys(utterance)]
        between = [source[place] for a, b in pairwise(positions) for place in range(a + 1, b)]
        assert positions == sorted(positions)
        assert all(other.speaker != utterance.speaker or duration_s(other) >= 5 for other in between)
    assert [keys(utterance) for utterance in concatenate(source, 5, 7, seed=seed)] == [keys(u) for u in long]


def test_lengths_are_spread_by_the_seed() -> None:
    source = [clip(number, 1.0) for number in range(200)]
    lengths = [duration_s(utterance) for utterance in concatenate(source, 5, 12)]
    assert len({round(length) for length in lengths}) >= 5
    assert lengths != [duration_s(utterance) for utterance in concatenate(source, 5, 12, seed=2)]


def test_what_is_already_long_comes_as_it_is() -> None:
    source = [clip(0, 1.0), clip(1, 6.0), clip(2, 30.0), clip(3, 4.0)]
    long = list(concatenate(source, 5, 7))
    assert long[0] is source[1]
    assert [keys(utterance) for utterance in long] == [["u1"], ["u0", "u3"]]


def test_joined_audio_text_and_metadata() -> None:
    source = [clip(0, 1.0), clip(1, 0.5), clip(2, 2.0)]
    sample = prepare(join(source, 0.25), DurationLimits())
    assert isinstance(sample, Prepared)
    assert json.loads(sample.members["json"]) == {
        "text": "Text 0. Text 1. Text 2.", "lang": "en", "speaker": "ann", "duration_s": 4.0,
        "keywords": ["Text 0", "Text", "Text 1", "Text 2"],
        "concatenated": ["u0", "u1", "u2"], "texts": ["Text 0.", "Text 1.", "Text 2."],
    }  # fmt: skip
    wave = load(sample.members["flac"])
    expected = np.repeat([0.001, 0.001, 0.002, 0.002, 0.003], [16000, 4000, 8000, 4000, 32000])
    assert np.abs(wave - expected).max() < 1 / 32768  # the quieter neighbour's level fills each gap


def test_joining_again_keeps_the_first_sources() -> None:
    inner = join([clip(0, 1.0), clip(1, 1.0)])
    assert keys(join([inner, clip(2, 1.0)])) == ["u0", "u1", "u2"]


def test_silence_is_the_quietest_stretch_around_the_seam() -> None:
    speech = RNG.normal(scale=0.1, size=16000).astype(np.float32)
    hiss = RNG.normal(scale=0.001, size=1600).astype(np.float32)
    between = silence(np.concatenate([speech, hiss]), speech, 4800)
    assert between.shape == (4800,) and 0 < np.abs(between).max() < 0.01
    assert silence(speech[:100], speech[:3], 50).shape == (50,)
    assert silence(speech, hiss, 0).shape == (0,)


def test_files_are_measured_as_they_decode(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(24000, np.float32), 8000)
    assert duration_s(CorpusUtterance("a", "t", tmp_path / "a.wav")) == 3.0
    assert duration_s(CorpusUtterance("a", "t", tmp_path / "a.wav", start_s=1.0)) == 2.0
    assert duration_s(CorpusUtterance("a", "t", tmp_path / "a.wav", start_s=0.5, end_s=1.0)) == 0.5
    assert duration_s(CorpusUtterance("a", "t", encode_flac(np.zeros(8000, np.float32)))) == 0.5


def test_a_header_or_a_list_that_lies_spoils_no_other_clip(tmp_path: Path) -> None:
    content = bytearray(encode_flac(np.zeros(16000, np.float32)))
    total = int.from_bytes(content[18:26], "big")
    content[18:26] = (total - 16000 + 4 * 16000).to_bytes(8, "big")  # STREAMINFO's number of samples
    lies = CorpusUtterance("lies", "t", bytes(content), "en", "ann")
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    short = CorpusUtterance("short", "t", tmp_path / "a.wav", "en", "ann", end_s=9.0)
    long = list(concatenate([clip(0, 3.0), lies, short, clip(1, 3.0)], 5, 7))
    assert all(5 <= duration_s(one) <= 7 for one in long if len(keys(one)) > 1)
    assert ["lies"] in map(keys, long) and isinstance(prepare(lies, DurationLimits()), Bad)
    assert any({"u0", "u1"} <= set(keys(one)) for one in long)


def test_an_unreadable_one_comes_alone_for_its_reader(tmp_path: Path) -> None:
    broken = CorpusUtterance("broken", "t", tmp_path / "missing.wav", "en", "ann")
    long = list(concatenate([clip(0, 3.0), broken, clip(1, 3.0)], 5, 7))
    assert [keys(utterance) for utterance in long] == [["broken"], ["u0", "u1"]]
    assert isinstance(prepare(long[0], DurationLimits()), Bad)


def test_parse() -> None:
    assert parse("20-28") == (20.0, 28.0) and parse("2.5-4") == (2.5, 4.0)
    for spec in ("", "20", "28-20", "20-20", "0-5", "a-b", "-5", "1-2-3", "1-inf", "nan-3"):
        with pytest.raises(UsageError):
            parse(spec)
