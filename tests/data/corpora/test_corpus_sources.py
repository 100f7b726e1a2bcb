"""Folders, Kaldi folders, manifests and foreign WebDatasets all list the same kind of utterance."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from arl.data.corpora import folder, foreign, kaldi, manifest
from arl.data.corpora.utterance import Bad, Corpus, CorpusUtterance, SourceOptions, safe_key, unique
from arl.errors import ArlError


def write_wav(path: Path, seconds: float = 0.5, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.linspace(-0.5, 0.5, round(rate * seconds), dtype=np.float32), rate)
    return path


def listed(corpus: Corpus, scratch: Path) -> tuple[list[CorpusUtterance], list[Bad]]:
    entries = list(corpus.entries(scratch))
    return [e for e in entries if isinstance(e, CorpusUtterance)], [e for e in entries if isinstance(e, Bad)]


def rows(utterances: Iterable[CorpusUtterance]) -> list[tuple[str, str]]:
    return [(utterance.key, utterance.text) for utterance in utterances]


def test_folder_of_pairs(tmp_path: Path) -> None:
    for name, suffix in [("b/2", ".lab"), ("a/1", ".txt")]:
        write_wav(tmp_path / f"{name}.wav")
        (tmp_path / name).with_suffix(suffix).write_text(f" text of\n{name} \n")
    write_wav(tmp_path / "alone.wav")
    (tmp_path / "a" / "notes.md").write_text("not a recording")
    corpus = folder.corpus(tmp_path)
    good, bad = listed(corpus, tmp_path)
    assert rows(good) == [("a/1", "text of a/1"), ("b/2", "text of b/2")]
    assert [(Path(b.where).name, b.reason.split(":")[0]) for b in bad] == [("alone.wav", "no transcript")]
    assert len(corpus.files) == 5


def test_folder_in_librispeech_style(tmp_path: Path) -> None:
    chapter = tmp_path / "84" / "121123"
    write_wav(chapter / "84-121123-0000.flac")
    write_wav(chapter / "84-121123-0001.flac")
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n")
    good, bad = listed(folder.corpus(tmp_path), tmp_path)
    assert rows(good) == [("84-121123-0000", "GO DO YOU HEAR"), ("84-121123-0001", "BUT IN LESS")]
    assert {utterance.speaker for utterance in good} == {"84"} and not bad


def test_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(ArlError, match="no such folder"):
        folder.corpus(tmp_path / "missing")
    with pytest.raises(ArlError, match="no recordings"):
        folder.corpus(tmp_path)


def kaldi_folder(tmp_path: Path, **files: str) -> Path:
    data = tmp_path / "kaldi"
    data.mkdir(exist_ok=True)
    for name, text in files.items():
        (data / name.replace("_", ".")).write_text(text)
    return data


def test_kaldi_folder_with_segments(tmp_path: Path) -> None:
    write_wav(tmp_path / "rec.wav", 3.0)
    data = kaldi_folder(
        tmp_path,
        wav_scp=f"rec {tmp_path}/rec.wav\n",
        text="u1 hello  there\nu2 bye\n",
        segments="u1 rec 0.5 1.5\nu2 rec 1.5 -1\nu3 rec 0 1\nu4 other 0 1\nu5 rec 2 1\n",
        utt2spk="u1 ann\nu2 ben\n",
        utt2lang="u1 de\n",
    )
    (data / "text").write_text("u1 hello  there\nu2 bye\nu5 x\n")
    good, bad = listed(kaldi.corpus(data), tmp_path)
    assert rows(good) == [("u1", "hello there"), ("u2", "bye")]
    assert [(u.speaker, u.lang, u.start_s, u.end_s) for u in good] == [("ann", "de", 0.5, 1.5), ("ben", "", 1.5, None)]
    reasons = " | ".join(b.reason for b in bad)
    assert "not in the file text" in reasons and "other is not in wav.scp" in reasons and "'rec 2 1'" in reasons


def test_kaldi_pipes_are_refused_unless_allowed(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "rec.wav")
    data = kaldi_folder(tmp_path, wav_scp=f"u1 cat {wav} |\nu2 false |\n", text="u1 hello\nu2 bye\n")
    good, bad = listed(kaldi.corpus(data), tmp_path)
    assert not good and all("--allow-pipes" in b.reason for b in bad) and len(bad) == 2
    good, bad = listed(kaldi.corpus(data, SourceOptions(allow_pipes=True)), tmp_path)
    assert not bad and callable(good[0].audio) and good[0].audio() == wav.read_bytes()
    with pytest.raises(ArlError, match="ended with code 1"):
        good[1].audio()  # type: ignore[operator]


def test_kaldi_relative_paths_and_missing_lists(tmp_path: Path) -> None:
    data = kaldi_folder(tmp_path, wav_scp="u1 clips/1.wav\n", text="u1 hello\n")
    in_data, in_root = write_wav(data / "clips" / "1.wav"), write_wav(tmp_path / "root" / "clips" / "1.wav")
    assert listed(kaldi.corpus(data), tmp_path)[0][0].audio == in_data
    assert listed(kaldi.corpus(data, SourceOptions(tmp_path / "root")), tmp_path)[0][0].audio == in_root
    (data / "text").write_text("u1 a\nu1 b\n")
    with pytest.raises(ArlError, match="text:2: u1 comes twice"):
        kaldi.corpus(data)
    (data / "text").unlink()
    with pytest.raises(ArlError, match="text: missing"):
        kaldi.corpus(data)


def test_common_voice_tsv(tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "clips" / "c1.wav")
    header = "client_id\tpath\tsentence\tlocale\n"
    (tmp_path / "test.tsv").write_text(header + 'ann\tc1.wav\t"Yes," he said\tde\nben\tc2.wav\tcut\n')
    good, bad = listed(manifest.corpus(tmp_path / "test.tsv"), tmp_path)
    assert rows(good) == [("c1", '"Yes," he said')]
    assert (good[0].speaker, good[0].lang, good[0].audio) == ("ann", "de", clip)
    assert bad[0].where.endswith("test.tsv:3") and "4 fields" in bad[0].reason


def test_nemo_json_lines(tmp_path: Path) -> None:
    lines = [
        {"audio_filepath": "a.wav", "text": "one", "duration": 1.5},
        {"audio_filepath": "a.wav", "text": "two", "duration": 1.5, "offset": 2.0, "keywords": ["two "]},
        {"audio_filepath": "a.wav", "text": "three", "offset": 2.0},
        {"text": "no path"},
    ]
    (tmp_path / "m.json").write_text("\n".join(map(json.dumps, lines)) + "\nnot json\n")
    good, bad = listed(manifest.corpus(tmp_path / "m.json"), tmp_path)
    assert [(u.text, u.start_s, u.end_s, u.keywords) for u in good] == [
        ("one", 0.0, None, ()),
        ("two", 2.0, 3.5, ("two",)),
    ]
    assert [b.where.rpartition(":")[2] for b in bad] == ["3", "4", "5"]


def test_csv_with_other_names_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('utt_id,wav,transcription,spk,keywords\nu1,x/1.wav,"well, yes",s1,well; yes\n')
    good, _ = listed(manifest.corpus(tmp_path / "m.csv", SourceOptions(tmp_path / "root")), tmp_path)
    assert rows(good) == [("u1", "well, yes")]
    assert good[0].audio == tmp_path / "root" / "x" / "1.wav" and good[0].keywords == ("well", "yes")
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ArlError, match="no column for the recordings"):
        manifest.corpus(tmp_path / "m.csv")


def test_foreign_webdataset(tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "c.wav").read_bytes()
    members = {
        "a/1.wav": clip,
        "a/1.json": json.dumps({"transcript": "one", "speaker_id": 7, "lang": "fr"}).encode(),
        "a/2.wav": clip,
        "a/2.txt": b"two",
        "a/3.txt": b"three",
        "a/4.wav": clip,
        "a/4.json": b"{",
    }
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "scratch").mkdir()
    good, bad = listed(foreign.corpus([str(tmp_path / "x.tar")]), tmp_path / "scratch")
    assert [(u.text, u.speaker, u.lang) for u in good] == [("one", "7", "fr"), ("two", "", "")]
    assert isinstance(good[0].audio, Path) and good[0].audio.read_bytes() == clip
    assert ["no audio" in b.reason or "not JSON" in b.reason for b in bad] == [True, True]


def test_keys_are_safe_and_unique() -> None:
    assert [safe_key(key) for key in ["a/b.c", "../x", "__end__", "größe 1", "..."]] == [
        "a-b-c",
        "x",
        "end",
        "größe-1",
        "utterance",
    ]
    keys = [u.key for u in unique(CorpusUtterance(key, "", b"") for key in ["a.b", "a-b", "a-b-2", "a/b", "a b"])]
    assert keys == ["a-b", "a-b-2", "a-b-2-2", "a-b-3", "a-b-4"] and len(set(keys)) == 5
