"""What an audio file's header says of its size: a file that a broken copy has cut short is told by it.

libsndfile reads what is there of a cut WAV, AIFF or AU file, and FFmpeg of many more, without a word. Here are the
formats whose header says how many bytes of samples follow: RIFF and RF64 WAV, AIFF, AU, and MP3 by its Xing frame.
Sizes that a pipe's writer puts in because it cannot know (0xFFFFFFFF, 0x7FFFF000 and up, 0) say nothing.

    require_whole(open("clip.wav", "rb"), "clip.wav")
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from arl.errors import ArlError

FROM_A_PIPE = 0x7FFF0000  # bytes; from here on a 32-bit size is a writer's stand-in
MOST_CHUNKS = 1000
PADDING = 1  # byte: a writer may count the pad byte of an odd chunk
MP3_SLACK = 0.02  # of the file: tags behind the last frame are counted by some writers
UNKNOWN_MD5 = bytes(16)  # an encoder that has not computed it


@dataclass(frozen=True)
class FlacInfo:
    """FLAC's STREAMINFO. md5: of all samples, interleaved, little-endian, in whole bytes; zeros: not stated."""

    rate: int
    channels: int
    bits: int
    frames: int
    md5: bytes


def flac_info(head: bytes) -> FlacInfo | None:
    """From the first 42 bytes of a file; None when they are not FLAC's.

    STREAMINFO follows `fLaC` and a block header of 4 bytes: from its byte 10 on 20 bits of sample rate, 3 of
    channels - 1, 5 of bits - 1, 36 of samples, then the MD5.
    """
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")
    channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    return FlacInfo(packed >> 44, channels, bits, packed & (1 << 36) - 1, head[26:42])


def require_whole(stream: BinaryIO, label: str) -> None:
    """Raises ArlError naming `label` when the file has fewer bytes of samples than its header says."""
    size = stream.seek(0, os.SEEK_END)
    found = _stated(stream, size)
    if found is None:
        return
    start, stated, slack = found
    if size - start < stated - slack:
        raise ArlError(
            f"{label}: cut: {size - start} of the {stated} bytes of audio that its header states; copy it again"
        )


def _stated(stream: BinaryIO, size: int) -> tuple[int, int, int] | None:
    """Where the samples start, how many bytes there are to be, and how many of them may be missing; None: not said."""
    stream.seek(0)
    head = stream.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _chunks(stream, size, b"data", "<>"[head[:4] == b"RIFX"])
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunks(stream, size, b"SSND", ">")
    if head[:4] == b".snd" and len(head) == 12:
        start, stated = struct.unpack(">II", head[4:12])
        return (start, stated, PADDING) if stated < FROM_A_PIPE else None
    return _xing(stream)


def _chunks(stream: BinaryIO, size: int, wanted: bytes, order: str) -> tuple[int, int, int] | None:
    """Walks the chunks to the one of the samples. RF64 says its size in a chunk before it."""
    at, long_size = 12, None
    for _ in range(MOST_CHUNKS):
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8:
            return None
        name, stated = head[:4], struct.unpack(order + "I", head[4:])[0]
        if name == wanted:
            if stated == 0xFFFFFFFF and long_size is not None:
                return at + 8, long_size, PADDING
            return (at + 8, stated, PADDING) if stated < FROM_A_PIPE else None
        if name == b"ds64" and len(sizes := stream.read(16)) == 16:
            long_size = struct.unpack("<Q", sizes[8:])[0]
        at += 8 + stated + stated % 2
        if at > size:
            return None
    return None


def _xing(stream: BinaryIO) -> tuple[int, int, int] | None:
    """An MP3 whose first frame says how many bytes there are."""
    start = _after_id3(stream)
    stream.seek(start)
    frame = stream.read(200)
    if frame[:1] != b"\xff" or len(frame) < 60 or frame[1] & 0xE0 != 0xE0:
        return None
    at = max(frame.find(name, 4, 48) for name in (b"Xing", b"Info"))
    if at < 0:
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if not flags & 2:
        return None
    place = at + 8 + 4 * (flags & 1)
    stated = int.from_bytes(frame[place : place + 4], "big")
    return start, stated, round(stated * MP3_SLACK)


def _after_id3(stream: BinaryIO) -> int:
    """The end of the ID3v2 tag at the start, 0 without one."""
    stream.seek(0)
    head = stream.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length
