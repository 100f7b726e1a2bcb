"""Equal samples have equal digests in every format; the FLAC header is only believed where it says the same."""

import io

import numpy as np
import pytest
import soundfile

from arl.audio.digest import clip_digest
from arl.audio.io import encode_flac, load
from arl.errors import ArlError

CLIP = np.random.default_rng(0).integers(-3000, 3000, 8000).astype(np.int16)


def encoded(samples: np.ndarray, kind: str, subtype: str = "PCM_16", rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def test_format_does_not_matter() -> None:
    flac = encoded(CLIP, "FLAC")
    digest = clip_digest(flac)
    assert digest == clip_digest(encoded(CLIP, "WAV")) == clip_digest(encode_flac(CLIP / 32768))
    assert digest == clip_digest(encoded((CLIP / 32768).astype(np.float32), "WAV", "FLOAT"))
    assert digest == clip_digest(encoded(CLIP.astype(np.int32) << 16, "FLAC", "PCM_24"))
    unstated = flac[:26] + bytes(16) + flac[42:]
    assert clip_digest(unstated) == digest


def test_one_sample_matters() -> None:
    other = CLIP.copy()
    other[4000] += 1
    assert len({clip_digest(encoded(clip, kind)) for clip in (CLIP, other) for kind in ("FLAC", "WAV")}) == 2
    quiet = [encoded(clip.astype(np.float32) / 32768, "WAV", "FLOAT") for clip in (CLIP, other)]
    assert clip_digest(quiet[0]) != clip_digest(quiet[1])


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_other_rates_and_channels_are_compared_as_they_are_heard(kind: str) -> None:
    stereo = encoded(np.stack([CLIP, CLIP], axis=1), kind)
    assert clip_digest(stereo) == clip_digest(encoded(CLIP, "FLAC"))
    fast = encoded(np.repeat(CLIP, 3), kind, rate=48000)
    assert clip_digest(fast) == clip_digest(encode_flac(load(fast)))


def test_no_audio_is_named() -> None:
    with pytest.raises(ArlError, match="shard: sample 'a'"):
        clip_digest(b"fLaC, or so it says" + bytes(40), "shard: sample 'a'")
