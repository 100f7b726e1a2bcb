"""Reading any audio, resampling, cutting, and FLAC that gives 16-bit samples back exactly."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from arl.audio.io import duration, encode_flac, is_plain, load, resample
from arl.errors import ArlError


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = 16000, **more: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=more.get("format", "WAV"), subtype=more.get("subtype"))
    return buffer.getvalue()


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=400))
def test_flac_gives_16_bit_samples_back(values: list[int]) -> None:
    samples = np.array(values, dtype=np.float32) / 32768
    assert np.array_equal(load(encode_flac(samples)), samples)


def test_flac_is_deterministic_and_clips() -> None:
    loud = np.array([2.0, -2.0, 0.25], dtype=np.float32)
    assert encode_flac(loud) == encode_flac(loud)
    assert load(encode_flac(loud)).tolist() == [32767 / 32768, -1.0, 0.25]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_become_16_khz(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate), rate)
    samples = load(path)
    assert samples.dtype == np.float32 and samples.shape == (16000,)
    assert np.abs(samples - tone(16000))[200:-200].max() < 0.01
    assert duration(path) == pytest.approx(1.0)


def test_channels_are_averaged() -> None:
    stereo = np.stack([tone(16000), np.zeros(16000, np.float32)], axis=1)
    assert np.allclose(load(wav(stereo)), tone(16000) / 2, atol=1e-4)


def test_g722_file_has_two_samples_a_byte(tmp_path: Path) -> None:
    import av

    path = tmp_path / "clip.g722"
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(16000) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    samples = load(path)
    assert len(samples) == 2 * path.stat().st_size
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 16000 / len(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("container", "codec", "atol"), [("m4a", "aac", 0.1), ("mka", "pcm_s16le", 1e-3)])
def test_formats_that_soundfile_does_not_know(tmp_path: Path, container: str, codec: str, atol: float) -> None:
    import av

    path = tmp_path / f"clip.{container}"
    with av.open(str(path), "w", format="mp4" if container == "m4a" else "matroska") as file:
        stream = file.add_stream(codec, rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(16000) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=16000)
        for part in resampler.resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    samples = load(path)
    assert abs(samples[2000:14000]).max() == pytest.approx(0.5, abs=atol)


def test_segment_of_a_recording() -> None:
    samples = tone(16000, 2.0)
    cut = load(wav(samples), start_s=0.5, end_s=1.25)
    assert np.allclose(cut, samples[8000:20000], atol=1e-4)
    assert len(load(wav(samples), start_s=1.5, end_s=2.05)) == 8000  # rounded times may end late by a little
    for start, end in [(2.0, None), (0.5, 3.0), (1.0, 1.0)]:
        with pytest.raises(ArlError, match="long.wav: segment .* outside its 2.00 s"):
            load(wav(samples), name="long.wav", start_s=start, end_s=end)


def test_is_plain() -> None:
    assert is_plain(wav(tone(16000))) == "wav"
    assert is_plain(encode_flac(tone(16000))) == "flac"
    assert is_plain(wav(tone(8000), 8000)) is None
    assert is_plain(wav(np.zeros((10, 2), np.float32))) is None
    assert is_plain(wav(tone(16000), format="OGG", subtype="VORBIS")) is None
    assert is_plain(b"nothing of the kind") is None


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    for source, reason in [
        (tmp_path / "text.wav", "not an audio file"),
        (tmp_path / "missing.wav", "no such audio file"),
    ]:
        with pytest.raises(ArlError, match=f"{source.name}.*{reason}"):
            load(source)
    with pytest.raises(ArlError, match="empty.wav: no audio"):
        load(wav(np.zeros(0, np.float32)), name="empty.wav")
    with pytest.raises(ArlError, match="bad.wav: .*not finite"):
        load(wav(np.array([0.0, np.nan], np.float32), subtype="FLOAT"), name="bad.wav")


def test_resample_keeps_the_same_rate_as_it_is() -> None:
    samples = tone(16000)
    assert resample(samples, 16000, 16000) is samples
    assert len(resample(samples, 16000, 24000)) == 24000
