"""The shipped rewards of synthesised speech, by hand and on waveforms whose truth is known."""

import math

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.errors import UsageError
from arl.programs.checker import check_program
from arl.programs.resolve import resolve
from arl.programs.utterance import Clip, Hypothesis, Utterance

RATE = 16000


def answers(spec, what, child=False):
    with resolve(spec, child=child).open() as program:
        program.send(what)
        program.finish()
        found = program.receive(120)
        program.close(60)
    return found


def both(spec, what):
    """The answer in process, which is also that of the program on its own."""
    found = answers(spec, what)
    assert answers(spec, what, child=True) == found
    return found


def group(*tokens, finish="stop", waves=(), ref="go", audio=None):
    waves = [*waves, *[None] * (len(tokens) - len(waves))]
    hyps = [Hypothesis("", list(own), finish, wav=wave) for own, wave in zip(tokens, waves, strict=True)]
    return Utterance("u", ref, "en", hyps, audio=audio)


@pytest.fixture
def clip(tmp_path):
    """Writes samples, or bytes, into the middle of a file."""

    def write(samples):
        content = samples if isinstance(samples, bytes) else encode_flac(samples)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        path.write_bytes(b"before" + content + b"behind")
        return Clip(str(path), 6, len(content))

    return write


def voice(hz, seconds=1.0):
    """Harmonics of a fundamental that may vary, [seconds * 16000]."""
    n = int(seconds * RATE)
    phase = 2 * math.pi * np.cumsum(np.broadcast_to(hz, n)) / RATE
    return (0.3 * sum(np.sin(k * phase) / k for k in range(1, 9)) / 2).astype(np.float32)


def sweep(low, high, seconds=1.0):
    """A voice that rises from low to high Hz, evenly in octaves: its std is log2(high / low) / sqrt(12)."""
    return voice(low * (high / low) ** np.linspace(0, 1, int(seconds * RATE)), seconds)


@pytest.mark.parametrize("spec", ["duration", "duration --of audio", "diversity --part tokens", "diversity"])
def test_the_contract_holds(spec, capsys):
    if spec == "diversity":
        pytest.importorskip("swift_f0")
    check_program(spec)
    assert capsys.readouterr().err == ""


def test_duration_is_the_distance_from_the_median():
    found = both("duration", group([1] * 5, [1] * 11, [1] * 17, [1] * 21))  # 4, 10, 16, 20 without the stop token
    assert found.metrics == {"tokens": [4, 10, 16, 20]}
    assert found.rewards == pytest.approx([-9 / 13, -3 / 13, -3 / 13, -7 / 13])


def test_a_cut_hypothesis_has_no_stop_token():
    assert both("duration", group([1] * 5, [1] * 10, [1] * 15, finish="length")).rewards == [-0.5, 0.0, -0.5]


def test_where_most_say_nothing_there_is_no_median():
    assert both("duration", group([1], [1], [1] * 9)).rewards == [None] * 3
    assert both("duration", group([1], [1] * 9, [1] * 9)).rewards == [-1.0, 0.0, 0.0]
    assert both("duration", group([], [1, 2], [3, 4])).metrics == {"tokens": [0, 1, 1]}


def test_duration_of_the_audio(clip, capsys):
    waves = [clip(voice(150, 1.0)), clip(voice(150, 2.0)), clip(b"no audio"), None, clip(voice(150, 4.0))]
    found = answers("duration --of audio", group(*[[1]] * 5, waves=waves))
    assert found.rewards == [-0.5, 0.0, None, None, -1.0]
    assert found.metrics == {"seconds": [1.0, 2.0, None, None, 4.0]}
    assert capsys.readouterr().err.count("excluded") == 1


def test_token_diversity_is_the_mean_distance_from_the_others():
    what = group([1, 2, 3, 4, 9], [1, 2, 3, 4, 9], [1, 2, 5, 9], [9])  # 1234, 1234, 125, nothing
    found = both("diversity --part tokens", what)
    assert found.rewards == pytest.approx([(0 + 2 / 4 + 1) / 3, (0 + 2 / 4 + 1) / 3, (2 / 4 + 2 / 4 + 1) / 3, 1.0])
    assert found.metrics == {"tokens": found.rewards}


def test_one_alone_is_not_diverse():
    assert both("diversity --part tokens", group([1, 2, 3])).rewards == [None]
    assert both("diversity --part tokens", group([9], [9])).rewards == [0.0, 0.0]


def test_pitch_is_in_octaves_whatever_the_voice(clip, capsys):
    pytest.importorskip("swift_f0")
    quiet, unvoiced = np.zeros(RATE, np.float32), np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    waves = [voice(150), sweep(100, 200), sweep(200, 400), sweep(150, 150 * 2**0.5), quiet, unvoiced, b"no audio"]
    found = both("diversity --part pitch", group(*[[1]] * 7, waves=[clip(wave) for wave in waves]))
    octave = 1 / math.sqrt(12)
    assert found.rewards[:4] == pytest.approx([0, octave, octave, octave / 2], abs=0.02)
    assert found.rewards[4:] == [None] * 3
    assert capsys.readouterr().err.count("excluded") == 1


def test_diversity_is_the_sum_of_its_parts(clip):
    pytest.importorskip("swift_f0")
    what = group([1, 2, 9], [1, 3, 9], [9], waves=[clip(sweep(100, 200)), clip(voice(200))])
    found = answers("diversity", what)
    tokens, pitch = found.metrics["tokens"], found.metrics["pitch"]
    assert found.rewards[:2] == [tokens[0] + pitch[0], tokens[1] + pitch[1]]
    assert found.rewards[2] is None and found.metrics["tokens"][2] == 1.0


@pytest.mark.parametrize("spec", ["duration --of words", "diversity --part rhythm"])
def test_an_unknown_choice_is_refused(spec):
    with pytest.raises(UsageError, match="words: tokens or audio|rhythm: both, tokens or pitch"):
        answers(spec, group([1, 2], [3, 4]))
