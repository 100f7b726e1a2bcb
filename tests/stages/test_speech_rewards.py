"""The shipped rewards of synthesised speech, by hand and on waveforms whose truth is known."""

import math
from importlib.util import find_spec

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.errors import UsageError
from arl.rewards.programs.checker import check_program
from arl.rewards.programs.resolve import resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.place import AudioSlice

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
    hyps = [RewardHypothesis("", list(own), finish, wav=wave) for own, wave in zip(tokens, waves, strict=True)]
    return Utterance("u", ref, "en", hyps, audio=audio)


@pytest.fixture
def clip(tmp_path):
    """Writes samples, or bytes, into the middle of a file."""

    def write(samples):
        content = samples if isinstance(samples, bytes) else encode_flac(samples)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        path.write_bytes(b"before" + content + b"behind")
        return AudioSlice(str(path), 6, len(content))

    return write


def voice(hz, seconds=1.0):
    """Harmonics of a fundamental that may vary, [seconds * 16000]."""
    n = int(seconds * RATE)
    phase = 2 * math.pi * np.cumsum(np.broadcast_to(hz, n)) / RATE
    return (0.3 * sum(np.sin(k * phase) / k for k in range(1, 9)) / 2).astype(np.float32)


def sweep(low, high, seconds=1.0):
    """A voice that rises from low to high Hz, evenly in octaves: its std is log2(high / low) / sqrt(12)."""
    return voice(low * (high / low) ** np.linspace(0, 1, int(seconds * RATE)), seconds)


@pytest.mark.parametrize(
    "spec", ["duration", "duration --of audio", "diversity --part tokens", "diversity", "clipping"]
)
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
    found = both("diversity --part tokens --mean others", what)
    assert found.rewards == pytest.approx([(0 + 2 / 4 + 1) / 3, (0 + 2 / 4 + 1) / 3, (2 / 4 + 2 / 4 + 1) / 3, 1.0])
    assert found.metrics == {"tokens": found.rewards}


def test_token_diversity_is_equation_8():
    what = group([1, 2, 3, 4, 9], [1, 2, 3, 4, 9], [1, 2, 5, 9], [9])  # 1234, 1234, 125, nothing
    found = both("diversity --part tokens", what)  # Σ_j d(o_i, o_j) / (G·|o_i|)
    assert found.rewards == pytest.approx([(2 + 4) / 16, (2 + 4) / 16, (2 + 2 + 3) / 12, (4 + 4 + 3) / 4])
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
    assert found.rewards[2] is None and found.metrics["tokens"][2] == (2 + 2) / 3


@pytest.mark.parametrize("spec", ["duration --of words", "diversity --part rhythm", "diversity --mean all"])
def test_an_unknown_choice_is_refused(spec):
    with pytest.raises(UsageError, match="words: tokens or audio|rhythm: both, tokens or pitch|all: group or others"):
        answers(spec, group([1, 2], [3, 4]))


def test_faults_and_which_rule_found_them(clip):
    good, rng = voice(150, 3.0), np.random.default_rng(0)
    waves = {
        "good": good,
        "clipped": np.clip(5 * good, -1, 1),
        "silent": rng.normal(0, 1e-3, RATE).astype(np.float32),
        "gap": np.concatenate([good, np.zeros(int(1.1 * RATE), np.float32), good]),
        "pause": np.concatenate([good, np.zeros(int(0.9 * RATE), np.float32), good]),
        "zeros": np.zeros(2 * RATE, np.float32),
    }
    what = group(*[[1]] * 8, waves=[*map(clip, waves.values()), clip(b"no audio")])
    found = answers("clipping", what)
    assert found.rewards == [0, 1, 1, 1, 0, 1, None, None]
    assert found.metrics == {
        "clipped": [0, 1, 0, 0, 0, 0, None, None],
        "silent": [0, 0, 1, 0, 0, 1, None, None],
        "gap": [0, 0, 0, 1, 0, 0, None, None],
    }
    assert answers("clipping --off clipped,silent --gap-s 2", what).rewards == [0] * 6 + [None] * 2
    assert answers("clipping --silent-db -70 --clip-share 1 --gap-db 130", what).rewards[:6] == [0, 0, 0, 0, 0, 1]
    with pytest.raises(UsageError, match="no rule 'gaps'; rules: clipped, silent, gap"):
        answers("clipping --off gaps", what)


@pytest.fixture(scope="module")
def speech():
    pytest.importorskip("hibari")
    from arl.data.corpora.synthetic import clean_speech

    texts = ("please leave a message after the tone", "the boats had been moored in the harbour all winter")
    return {text: clean_speech(text, 1) for text in texts}


@pytest.mark.slow
def test_similarity_keeps_the_contract(capsys):
    if find_spec("resemblyzer") is None:
        pytest.skip("resemblyzer is not installed")
    check_program("similarity")
    assert capsys.readouterr().err == ""


def test_one_voice_is_more_similar_than_another(clip, speech, tmp_path, capsys):
    if find_spec("resemblyzer") is None:  # its weights are enough: its code cannot be imported
        pytest.skip("resemblyzer is not installed")
    from arl.audio.io import resample

    one, two = speech.values()
    other = resample(two, RATE, 21000)  # lower and slower: as if by another speaker
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    waves = [clip(wave) for wave in (one, two, other, noise, np.zeros(RATE, np.float32), b"no audio", one[:3200])]
    what = group(*[[1]] * 7, waves=waves, audio=clip(one))
    found = answers("similarity", what).rewards
    assert found[0] == pytest.approx(1.0) and found[1] > 0.75 > found[2] and found[3] < 0.75
    assert found[4:] == [None] * 3
    assert answers("similarity", group([1], waves=waves[:1], audio=clip(b"no audio"))).rewards == [None]
    assert capsys.readouterr().err.count("excluded") == 2
    (tmp_path / "voice.flac").write_bytes(encode_flac(one))
    named = group(*[[1]] * 2, waves=waves[:2])
    assert answers(f"similarity --reference {tmp_path}/voice.flac", named).rewards == found[:2]
    with pytest.raises(UsageError, match="'u' has no audio to compare with; name a voice"):
        answers("similarity", named)


def test_windows_of_the_speaker_network():
    from arl.audio.speaker import window_starts

    assert [window_starts(int(s * RATE)) for s in (0.5, 1.6, 1.7, 2.2, 4.0)] == [
        [0], [0], [0], [0, 77], [0, 77, 154, 231]
    ]  # fmt: skip


def test_natural_speech_has_the_higher_opinion_score(clip, speech):
    pytest.importorskip("distillmos")
    one = next(iter(speech.values()))
    noisy = one + np.random.default_rng(0).normal(0, 0.05, len(one)).astype(np.float32)
    what = group(*[[1]] * 4, waves=[clip(one), clip(noisy), clip(np.zeros(RATE, np.float32))])
    natural, bad, silent, missing = answers("mos", what).rewards
    assert natural > 4 > 3 > bad > 1 and silent is None and missing is None


@pytest.mark.slow
def test_a_recogniser_hears_the_text(clip, speech):
    text, wave = next(iter(speech.items()))
    what = group(*[[1]] * 4, waves=[clip(wave), clip(wave[: len(wave) // 2]), clip(b"no audio")], ref=text)
    found = answers("asr", what)
    assert found.rewards[0] == 1.0 > found.rewards[1] and found.rewards[2:] == [None, None]
    assert found.metrics["length"] == [7, 7, None, None] and found.metrics["deletions"][1] >= 2
    characters = answers("asr --unit char", what)
    assert characters.rewards[0] == 1.0 and characters.metrics["length"][0] == len(text.replace(" ", ""))


def test_a_recogniser_reads_the_tokens(tmp_path):
    token_asr = pytest.importorskip("arl.models.token_asr.model")
    import torch

    torch.manual_seed(0)
    recogniser = token_asr.TokenAsr(20, width=16, heads=2, layers=1).eval()
    token_asr.save(recogniser, tmp_path / "asr")
    codes = [[3, 7, 7, 12, 19, 0], [1, 2, 3], []]
    heard = recogniser.transcribe(codes)
    hyps = group(*[[44 + code for code in own] + [9] for own in codes], ref=heard[0] or "go")
    spec = f"asr --by tokens --model {tmp_path / 'asr'} --first 44"
    from arl.text.wer import error_rate

    expected = [1 - error_rate(hyps.ref, text, "en") for text in heard]
    assert answers(spec, hyps).rewards == pytest.approx(expected)
    assert answers(f"{spec} --floor 0", hyps).rewards == pytest.approx([max(0, value) for value in expected])


@pytest.mark.parametrize("spec", ["asr --by tokens --first 44", "asr --by tokens --model here", "asr --by ear"])
def test_what_the_recogniser_needs(spec):
    with pytest.raises(UsageError, match="needs --model, the recogniser's folder, and --first|whisper or tokens"):
        answers(spec, group([1, 2]))
