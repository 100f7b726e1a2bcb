"""The digest of a clip's samples: equal for equal samples, whatever the file format.

The MD5 of the clip in mono, 16 kHz, 16-bit samples. A FLAC file of that form has this MD5 in its header and is not
decoded. Left out: clips that are similar but not equal, such as a lossy encoding of the same recording.

    clip_digest(Path("a.flac").read_bytes()) == clip_digest(Path("a.wav").read_bytes())
"""

import hashlib

from arl.audio.io import SAMPLE_RATE, load, to_int16

UNKNOWN = bytes(16)  # an encoder that has not computed the MD5


def clip_digest(content: bytes, name: str = "") -> str:
    """32 hex digits for a file's content. Raises ArlError, naming `name`, when it is no audio."""
    stated = _flac_md5(content)
    if stated is not None:
        return stated.hex()
    samples = to_int16(load(content, name=name))
    return hashlib.md5(samples.astype("<i2", copy=False).tobytes(), usedforsecurity=False).hexdigest()


def _flac_md5(content: bytes) -> bytes | None:
    """The MD5 of the samples that a FLAC header states; None when the clip is not mono 16 kHz 16-bit FLAC.

    STREAMINFO follows `fLaC` and a block header of 4 bytes: from its byte 10 on 20 bits of sample rate, 3 of
    channels - 1, 5 of bits - 1, 36 of samples, then the MD5.
    """
    if len(content) < 42 or content[:4] != b"fLaC" or content[4] & 0x7F:
        return None
    packed = int.from_bytes(content[18:26], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    stated = content[26:42]
    plain = (rate, channels, bits) == (SAMPLE_RATE, 1, 16)
    return stated if plain and stated != UNKNOWN else None
