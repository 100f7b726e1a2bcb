"""Audio that is cut, lies about itself or cancels itself out: an error or the right samples, never half of them."""

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from arl.audio.io import encode_flac, load, mono
from arl.errors import ArlError

TONE = (0.5 * np.sin(np.arange(32000) / 7)).astype(np.float32)


def content(kind: str, samples: np.ndarray = TONE, **more: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format=kind, **more)
    return buffer.getvalue()


def test_antiphase_gives_one_channel() -> None:
    assert np.abs(load(content("WAV", np.stack([TONE, -TONE], 1)))).max() > 0.4
    quiet = np.stack([0.2 * TONE, -0.25 * TONE], 1)
    assert np.array_equal(mono(quiet), quiet[:, 1])
    alone = np.zeros((32000, 8), np.float32)
    alone[:, 3] = TONE
    assert np.allclose(mono(alone), TONE / 8)  # one of eight is not cancelled
    assert not mono(np.zeros((10, 2), np.float32)).any()


def test_one_channel_is_taken() -> None:
    stereo = content("WAV", np.stack([TONE, 0.5 * TONE], 1))
    assert np.allclose(load(stereo, channel=1), 0.5 * TONE, atol=1e-4)
    with pytest.raises(ArlError, match="x.wav: no channel 2, it has 2"):
        load(stereo, name="x.wav", channel=2)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "AU", "FLAC", "OGG", "MP3"])
def test_a_file_cut_in_half(tmp_path: Path, kind: str) -> None:
    whole = content(kind)
    assert len(load(whole)) == pytest.approx(32000, abs=2500)
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    for source in (whole[: len(whole) // 2], tmp_path / "half"):
        with pytest.raises(ArlError):
            load(source)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF])
def test_a_wav_from_a_pipe_is_whole(size: int) -> None:
    whole = bytearray(content("WAV"))
    whole[40:44] = struct.pack("<I", size)
    assert len(load(bytes(whole))) == 32000


@pytest.mark.parametrize("frames", [1, 16000, 31999, 32001, 64000, (1 << 36) - 1])
def test_a_flac_that_lies_about_its_length(frames: int) -> None:
    tracemalloc.start()
    with pytest.raises(ArlError):
        load(with_frames(encode_flac(TONE), frames), prove=True)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def with_frames(flac: bytes, frames: int) -> bytes:
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36 | frames
    return flac[:18] + packed.to_bytes(8, "big") + flac[26:]


def test_a_flac_from_a_pipe_is_whole() -> None:
    flac = with_frames(encode_flac(TONE), 0)
    assert len(load(flac[:26] + bytes(16) + flac[42:], prove=True)) == 32000


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_is_proved(subtype: str, channels: int) -> None:
    samples = np.stack([TONE, 0.3 * TONE][:channels], 1)
    flac = bytearray(content("FLAC", samples, subtype=subtype))
    assert len(load(bytes(flac), prove=True)) == 32000
    flac[30] ^= 1
    with pytest.raises(ArlError, match="MD5"):
        load(bytes(flac), prove=True)


@pytest.mark.parametrize("tag", [0, 2, 0x11, 0x31, 0x45, 0x50, 0x55, 0x160, 0x1234, 0xF1AC, 0xFFFE, 0xFFFF])
def test_a_wav_with_an_odd_format_tag(tag: int) -> None:
    whole = bytearray(content("WAV"))
    whole[20:22] = struct.pack("<H", tag)
    try:
        assert np.isfinite(load(bytes(whole), name="odd.wav")).all()
    except ArlError as error:
        assert str(error).startswith("odd.wav: ")


@pytest.mark.parametrize("rate", [1, 999, 2_000_000_000])
def test_a_rate_that_is_none(rate: int) -> None:
    whole = bytearray(content("WAV"))
    whole[24:28] = struct.pack("<I", rate)
    with pytest.raises(ArlError, match="sample rate"):
        load(bytes(whole))


def test_no_more_is_read_than_asked_for() -> None:
    long = content("FLAC", np.tile(TONE, 30))
    assert len(load(long, most_s=3)) == 48000
    assert len(load(long, start_s=1, end_s=50, most_s=3)) == 48000
    assert len(load(long, most_s=100)) == 960000


def test_a_playlist_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(content("WAV"))
    secret = tmp_path / "secret.wav"
    for text in (f"#EXTM3U\n#EXTINF:2,\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n"):
        (tmp_path / "list.wav").write_text(text)
        with pytest.raises(ArlError):
            load(tmp_path / "list.wav")
