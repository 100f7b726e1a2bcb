"""What the start is made of beside `arl`: unlabelled speech of games, and sentences spliced from words."""

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from propack import pack
from torch import Tensor

from arl.audio.io import encode_flac
from arl.errors import ArlError
from arl.policy import Policy
from arl.shards import columns
from arl.shards.reader import read_joined, read_shard
from arl.shards.writer import write_shard
from tests.in_process import arl
from tests.tiny_asr import make_tiny_asr_policy

TEXTS = ["one two three", "goodbye", "the number is four", "a very long sentence for a quarter of a second"]
HEADER = bytes(22)  # in front of an entry's packed part


def disk(folder: Path, entries: list[tuple[int, bytes]], far: bool = False) -> tuple[Path, Path]:
    """An index and its disk, every entry at a multiple of 16 bytes; far: with offsets that count 16 bytes."""
    index, data = struct.pack("<I", len(entries)), bytearray()
    for number, content in entries:
        data += b"\0" * (-len(data) % 16)
        offset = len(data) >> 4 | 0x800000 if far else len(data)
        flagged = len(content) | 0x400000
        index += struct.pack("<H", number) + offset.to_bytes(3, "little") + flagged.to_bytes(3, "little")
        data += content
    (folder / "dnr").write_bytes(index)
    (folder / "dsk").write_bytes(data)
    return folder / "dnr", folder / "dsk"


@pytest.mark.parametrize("far", [False, True])
def test_the_clips_of_a_disk_are_its_packed_samples(tmp_path: Path, far: bool) -> None:
    from examples.asr import steel_sky

    samples = (128 + 100 * np.sin(np.arange(1103) / 9)).astype(np.uint8)
    speech = HEADER + pack(samples.tobytes(), method=1)
    files = disk(tmp_path, [(60000, b"music"), (50002, speech), (7, b"picture"), (50003, speech)], far)
    found = dict(steel_sky.clips(*files))
    assert list(found) == [50002, 50003]
    wave = found[50002]
    assert wave.dtype == np.float32 and len(wave) == pytest.approx(1103 * 16000 / 11025, abs=1)
    seconds = np.arange(200, 1400) / 16000
    assert np.abs(wave[200:1400] - 100 / 128 * np.sin(seconds * 11025 / 9)).max() < 0.03  # rounding to 8 bits


def test_an_entry_that_is_no_packed_speech_is_named(tmp_path: Path) -> None:
    from examples.asr import steel_sky

    files = disk(tmp_path, [(50002, bytes(60))])
    with pytest.raises(ArlError, match=r"dsk: entry 50002: no packed speech"):
        list(steel_sky.clips(*files))


def test_the_clips_of_a_folder_are_its_raw_samples(tmp_path: Path) -> None:
    from examples.asr import drascula

    samples = (128 + 100 * np.sin(np.arange(1103) / 9)).astype(np.uint8)
    (tmp_path / "T12.ALS").write_bytes(samples.tobytes())
    (tmp_path / "12.ALG").write_bytes(b"a picture")
    found = dict(drascula.clips(tmp_path))
    assert list(found) == ["T12"]
    seconds = np.arange(200, 1400) / 16000
    assert np.abs(found["T12"][200:1400] - 100 / 128 * np.sin(seconds * 11025 / 9)).max() < 0.03  # rounding to 8 bits


def test_clips_that_whisper_is_sure_of_are_a_folder_with_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from examples.asr import heard

    waves = {"sure": wave("a"), "unsure": wave("bb"), "short": wave("c")[:1600]}
    said = {"sure": heard.Transcript("Get out!", -0.1, True), "unsure": heard.Transcript("Get in!", -0.9, True)}
    monkeypatch.setattr(heard, "transcripts", lambda clips, *_: {name: said[name] for name in clips})
    heard.write_heard(waves, tmp_path / "heard")
    assert sorted(path.name for path in (tmp_path / "heard").iterdir()) == ["sure.flac", "sure.txt"]
    assert (tmp_path / "heard" / "sure.txt").read_text() == "Get out!\n"


@pytest.mark.parametrize(
    ("said", "log_prob", "is_whole", "label"),
    [
        (" Get out of here, now!", -0.2, True, "Get out of here, now!"),
        ("Get out of here, now!", -0.6, True, None),  # not sure
        ("Get out of here, now", -0.2, False, None),  # not ended
        ("You do that, son. You do that, son. You do", -0.1, False, "You do that, son."),
        ("No, I said no.", -0.1, True, "No, I said no."),  # the last word is the first one, no more
        ("Robot? Robot!", -0.1, True, "Robot? Robot!"),
        ("...", -0.1, True, None),
    ],
)
def test_a_label_is_what_whisper_is_sure_of_said_once(
    said: str, log_prob: float, is_whole: bool, label: str | None
) -> None:
    from examples.asr.heard import label_of
    from examples.asr.short_windows import Transcript

    assert label_of(Transcript(said, log_prob, is_whole)) == label


def test_short_windows_give_text_confidence_and_end() -> None:
    from examples.asr.short_windows import transcripts

    waves = {str(n): wave("a" * n) for n in (3, 30, 12)}
    found = transcripts(waves)
    assert set(found) == set(waves) and all(heard.log_prob < 0 for heard in found.values())
    alone = transcripts({"30": waves["30"]})["30"]
    assert alone.text == found["30"].text and alone.log_prob == pytest.approx(found["30"].log_prob, abs=1e-3)


def test_words_change_half_way_between_their_tokens() -> None:
    from examples.asr import spliced

    path = [0, 5, 5, 0, 0, 5, 0, 7, 7, 0, 0, 0, 9, 0]  # words 5, 5 7, 9: the blank parts a token from its repetition
    assert spliced.word_bounds(path, [0, 1, 1, 2]) == [4, 10]
    assert spliced.word_bounds([3, 0], [0]) == []


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 99))
def test_a_spliced_sentence_is_runs_of_the_pools_words(sizes: list[int], n_words: int, seed: int) -> None:
    from examples.asr.spliced import Words, spliced

    pool, counted = [], 0
    for size in sizes:
        names = [str(counted + place) for place in range(size)]
        pool.append(Words(names, [torch.full((4, 2), float(name)) for name in names], b"{}"))
        counted += size
    made = spliced(pool, n_words, random.Random(seed))
    assert len(made.texts) == n_words
    said = [float(piece[0, 0]) for piece in made.pieces]
    assert said == [float(text) for text in made.texts]  # what is heard is what is written


def wave(text: str) -> np.ndarray:
    return (0.1 * np.random.default_rng(len(text)).standard_normal(8000 + 900 * len(text))).astype(np.float32)


def cut_and_whole(aligner: Any, text: str, features: Tensor) -> tuple[list[str], Tensor]:
    found = aligner.cut(text, features)
    assert found
    assert all(len(piece) % aligner.projector.stack == 0 for piece in found[1])
    return found[0], torch.cat(found[1])


def test_a_folder_of_features_becomes_one_of_new_sentences(tmp_path: Path) -> None:
    from examples.asr import spliced

    for shard in range(2):
        rows = [
            (f"{shard}-{place}", {"flac": encode_flac(wave(text), 16000),
             columns.META: columns.dumps({"text": text, "lang": "en", "duration_s": len(wave(text)) / 16000})})
            for place, text in enumerate(TEXTS)
        ]  # fmt: skip
        write_shard(tmp_path / "data" / f"{shard:06d}.tar", rows)
    policy, features = make_tiny_asr_policy(tmp_path / "policy"), tmp_path / "features"
    arl("encode", "--features", "--shards", tmp_path / "data", "--policy", policy, "-o", features)

    aligner = spliced.Aligner(Policy.open(policy))
    clip = torch.randn(70, 32)
    words, whole = cut_and_whole(aligner, "Goodbye, all!", clip)
    assert words == ["goodbye", "all"] and torch.equal(whole, clip[: len(whole)]) and len(whole) == 70
    assert aligner.cut("far more words than frames", clip[:20]) is None and aligner.cut("?", clip) is None

    new = tmp_path / "new"
    spliced.main(tmp_path / "data", features, policy, new / "data", new / "features", seed=1)
    for name in ("000000.tar", "000001.tar"):
        texts = [sample.json(columns.META)["text"].split() for sample in read_shard(new / "data" / name)]
        assert sorted(map(len, texts)) == sorted(len(text.split()) for text in TEXTS)
        assert {word for text in texts for word in text} <= {word for text in TEXTS for word in text.split()}
        assert {" ".join(text) for text in texts} != set(TEXTS)
        joined = list(read_joined([new / "features" / name, new / "data" / name]))
        assert len(joined) == len(TEXTS) and all(columns.FEAT in sample.members for sample in joined)
