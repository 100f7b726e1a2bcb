"""Lists with bad lines: one bad line is one bad sample, the rest is kept, and no transcript is half of one."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from arl.data.corpora import folder, foreign, kaldi, manifest, publish, texts
from arl.data.corpora.build import CorpusOptions, build
from arl.data.corpora.data_stage import Selection, make_shards
from arl.data.corpora.prepare import DurationLimits, prepare
from arl.data.corpora.utterance import Bad, Corpus, CorpusUtterance, SourceOptions
from arl.errors import ArlError, UsageError
from arl.shards.reader import read_shard

SEPARATORS = "\v\f\x1c\x1e\x85\u2028\u2029"
NONE = DurationLimits()


def write_wav(path: Path, seconds: float = 0.5, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.outer(np.linspace(-0.5, 0.5, round(16000 * seconds)), 1 / np.arange(1, channels + 1))
    soundfile.write(path, samples.astype(np.float32), 16000)
    return path


def listed(corpus: Corpus, scratch: Path) -> tuple[dict[str, str], list[str]]:
    """Key to text of the good ones, and where the bad ones are."""
    entries = list(corpus.entries(scratch))
    good = {entry.key: entry.text for entry in entries if isinstance(entry, CorpusUtterance)}
    return good, [f"{entry.where}: {entry.reason}" for entry in entries if isinstance(entry, Bad)]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_other_separators_stand_inside_a_transcript(tmp_path: Path, separator: str) -> None:
    text = f"one two{separator}three"
    write_wav(tmp_path / "7-1.wav")
    (tmp_path / "7.trans.txt").write_text(f"7-1 {text}\n", encoding="utf-8")
    (tmp_path / "text").write_text(f"7-1 {text}\n", encoding="utf-8")
    (tmp_path / "wav.scp").write_text("7-1 7-1.wav\n")
    (tmp_path / "m.tsv").write_text(f"path\ttext\n7-1.wav\t{text}\n", encoding="utf-8")
    (tmp_path / "m.csv").write_text(f"path,text\n7-1.wav,{text}\n", encoding="utf-8")
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "7-1.wav", "text": text}, ensure_ascii=False) + "\n")
    (tmp_path / "t.txt").write_text(f"7-1\t{text}\n", encoding="utf-8")
    corpora = [manifest.corpus(tmp_path / f"m.{kind}") for kind in ("tsv", "csv", "jsonl")]
    corpora += [folder.corpus(tmp_path), kaldi.corpus(tmp_path), texts.corpus(tmp_path / "t.txt")]
    for corpus in corpora:
        assert listed(corpus, tmp_path) == ({"7-1": "one two three"}, [])


def test_a_line_that_is_not_utf8_is_one_bad_sample(tmp_path: Path) -> None:
    write_wav(tmp_path / "7-1.wav")
    (tmp_path / "7.trans.txt").write_bytes(b"7-2 caf\xe9\n7-1 fine\n")
    (tmp_path / "text").write_bytes(b"u2 caf\xe9\nu1 fine\n")
    (tmp_path / "wav.scp").write_text("u1 7-1.wav\n")
    (tmp_path / "m.tsv").write_bytes(b"path\ttext\n7-1.wav\tcaf\xe9\n7-1.wav\tfine\n")
    (tmp_path / "m.jsonl").write_bytes(b'{"path": "x", "text": "caf\xe9"}\n{"path": "7-1.wav", "text": "fine"}\n')
    (tmp_path / "t.txt").write_bytes(b"caf\xe9\nfine\n")
    for corpus, place in (
        (folder.corpus(tmp_path), "7.trans.txt:1"),
        (kaldi.corpus(tmp_path), "text:1"),
        (manifest.corpus(tmp_path / "m.tsv"), "m.tsv:2"),
        (manifest.corpus(tmp_path / "m.jsonl"), "m.jsonl:1"),
        (texts.corpus(tmp_path / "t.txt"), "t.txt:1"),
    ):
        good, bad = listed(corpus, tmp_path)
        assert list(good.values()) == ["fine"] and len(bad) == 1 and bad[0].endswith(f"{place}: not UTF-8 text")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"path": "a.wav", "text": "x", "offset": NaN, "duration": 1}', "'offset' is nan"),
        ('{"path": "a.wav", "text": "x", "offset": -1, "duration": 1}', "'offset' is -1"),
        ('{"path": "a.wav", "text": "x", "offset": true, "duration": 1}', "'offset' is True"),
        ('{"path": "a.wav", "text": "x", "offset": 0, "duration": "1_0"}', "'duration' is '1_0'"),
        ('{"path": "a.wav", "text": "x", "duration": -1}', "'duration' is -1"),
        ('{"path": "a.wav", "text": "x", "start": 0.5, "end": "end"}', "'end' is 'end'"),
        ('{"path": "a.wav", "text": "x", "start": 0.5, "end": [1]}', r"'end' is \[1\]"),
        ('{"path": "a.wav", "text": "x", "start": 0, "end": Infinity}', "'end' is inf"),
        ('{"path": "a.wav", "text": "x", "start": 0.4, "end": 0.4}', "no length"),
        ('{"path": "a.wav", "text": "x", "offset": 1' + "0" * 400 + "}", "'offset' is a number of"),
        ('{"path": "a.wav", "text": "x", "offset": 1' + "0" * 5000 + "}", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"path": "a.wav", "text": ["one", "two"]}', r"'text' is \['one', 'two'\]"),
        ('{"path": "a.wav", "text": true}', "'text' is True"),
        ('{"path": "a.wav", "text": 123}', "'text' is 123"),
        ('{"path": "a.wav", "text": {"a": 1}}', "'text' is"),
        ('{"path": "a.wav", "text": "x", "speaker": ["a"]}', "'speaker' is"),
        ('{"path": "a.wav", "text": "x", "lang": ["en"]}', "'lang' is"),
        ('{"path": "a.wav", "text": "x", "key": {}}', "'key' is"),
        ('{"path": "a.wav", "text": "x", "keywords": [["x"]]}', "keywords is"),
        ('{"path": ["a.wav"], "text": "x"}', "'path' is"),
        ('{"path": "a\\u0000b.wav", "text": "x"}', "NUL"),
        ('{"path": "a\\ud800b.wav", "text": "x"}', "cannot be one"),
        ('{"path": "' + "a" * 5000 + '.wav", "text": "x"}', "cannot be one"),
    ],
)
def test_a_bad_row_is_one_bad_sample(tmp_path: Path, row: str, reason: str) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text(f'{row}\n{{"path": "a.wav", "text": "fine", "key": "f", "speaker": 7}}\n')
    good, bad = listed(manifest.corpus(tmp_path / "m.jsonl"), tmp_path)
    assert good == {"f": "fine"} and len(bad) == 1
    with pytest.raises(ValueError, match=f"m.jsonl:1: .*{reason}"):
        raise ValueError(bad[0])


def test_times_that_are_null_are_not_said(tmp_path: Path) -> None:
    rows: list[tuple[dict[str, Any], tuple[float, float | None]]] = [
        ({"offset": 0, "duration": None}, (0.0, None)),
        ({"offset": None, "duration": None, "start": None, "end": None}, (0.0, None)),
        ({"start": 0.25}, (0.25, None)),
        ({"start": 0.25, "duration": 0.2}, (0.25, 0.45)),
        ({"offset": "0.1", "duration": "0.2"}, (0.1, pytest.approx(0.3))),
    ]
    lines = [json.dumps({"file_name": "a.wav", "text": "x", **times}) for times, _ in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    entries = list(manifest.corpus(tmp_path / "m.jsonl").entries(tmp_path))
    assert [(e.start_s, e.end_s) for e in entries if isinstance(e, CorpusUtterance)] == [times for _, times in rows]


def test_a_recording_shorter_than_its_list_says(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 1.0)
    lines = [{"path": "a.wav", "text": "x", "duration": seconds} for seconds in (0.5, 1.0, 1.1, 2.0)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    entries = list(manifest.corpus(tmp_path / "m.jsonl").entries(tmp_path))
    results = [prepare(entry, NONE) for entry in entries if isinstance(entry, CorpusUtterance)]
    assert [isinstance(result, Bad) for result in results] == [False, False, False, True]
    assert isinstance(results[3], Bad) and results[3].reason == "cut: 1.00 of the 2.00 s that its list states"


@pytest.mark.parametrize(
    "lines",
    [
        ['a.wav,"never closed', "a.wav,good 1", "a.wav,good 2"],
        ['a.wav,"never closed', 'a.wav,"good 1"', "a.wav,good 2"],
        ['a.wav,"never closed', "a.wav,good 1", 'a.wav,"good 2"'],
        ["a.wav,good 1", 'a.wav,"closed" and more', "a.wav,good 2"],
        ["a.wav,good 1", "a.wav,good 2", 'a.wav,"never closed'],
        ["a.wav,good 1", "a.wav,a lone\rreturn", "a.wav,good 2"],
        ["a.wav,good 1", "a.wav,one,two", "a.wav,good 2"],
    ],
)
def test_quotation_marks_that_are_not_closed(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "m.csv").write_bytes("\n".join(["path,text", *lines, ""]).encode())
    good, bad = listed(manifest.corpus(tmp_path / "m.csv"), tmp_path)
    entries = [entry for entry in manifest.corpus(tmp_path / "m.csv").entries(tmp_path)]
    assert [entry.text for entry in entries if isinstance(entry, CorpusUtterance)] == ["good 1", "good 2"]
    number = next(n for n, line in enumerate(lines, 2) if "good" not in line)
    assert len(bad) == 1 and f"m.csv:{number}: " in bad[0] and good


def test_a_field_over_several_lines(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('file_name,transcription,x\na.wav,"one\ntwo ""three""\nfour",1\nb.wav,five,2\n')
    assert listed(manifest.corpus(tmp_path / "m.csv"), tmp_path) == ({"a": 'one two "three" four', "b": "five"}, [])
    (tmp_path / "m.csv").write_text("path,text,text\n")
    with pytest.raises(ArlError, match="m.csv:1: the column 'text' comes twice"):
        manifest.corpus(tmp_path / "m.csv")


def test_kaldi_channels_and_times(tmp_path: Path) -> None:
    write_wav(tmp_path / "r.wav", 2.0, channels=2)
    (tmp_path / "wav.scp").write_bytes(b"r r.wav\nn n\0.wav\n")
    times = ["0 1", "0 1 A", "0 1 B", "1 2 1", "0 -1 0", "0 1 7", "0 1 C", "nan 1", "0 inf", "0 1_0", "0", "0 1 A A"]
    (tmp_path / "segments").write_text("".join(f"u{n} r {span}\n" for n, span in enumerate(times)))
    (tmp_path / "text").write_text("".join(f"u{n} text {n}\n" for n in range(len(times))))
    entries = list(kaldi.corpus(tmp_path, SourceOptions(audio_root=tmp_path)).entries(tmp_path))
    good = [entry for entry in entries if isinstance(entry, CorpusUtterance)]
    assert [(u.key, u.channel) for u in good] == [
        ("u0", None), ("u1", 0), ("u2", 1), ("u3", 1), ("u4", 0), ("u5", 7),
    ]  # fmt: skip
    assert len(entries) - len(good) == 7  # the line with the NUL is one of them
    results = [prepare(utterance, NONE) for utterance in good]
    assert [isinstance(result, Bad) for result in results] == [False] * 5 + [True]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "b.wav").symlink_to("nowhere.wav")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    good, bad = listed(folder.corpus(tmp_path), tmp_path)
    assert good == {"a": "a"} and bad == [f"{tmp_path}/b.wav: a link that leads nowhere"]
    result = prepare(CorpusUtterance("b", "b", tmp_path / "b.wav"), NONE)
    assert isinstance(result, Bad) and "leads nowhere" in result.reason


def test_two_transcripts_of_one_recording(tmp_path: Path) -> None:
    write_wav(tmp_path / "7-1.wav")
    (tmp_path / "a.trans.txt").write_text("7-1 one\n7-1 one\n")
    assert listed(folder.corpus(tmp_path), tmp_path) == ({"7-1": "one"}, [])
    (tmp_path / "b.trans.txt").write_text("7-1 two\n")
    good, bad = listed(folder.corpus(tmp_path), tmp_path)
    assert not good and len(bad) == 1 and "b.trans.txt:1: a second transcript" in bad[0]


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_foreign_sample_with_two_recordings(tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "c.wav").read_bytes()
    members = {"a.1.wav": clip, "a.2.wav": clip, "a.txt": b"one", "b.wav": clip, "b.flac": clip, "b.txt": b"two"}
    members |= {"c.wav": clip, "c.json": b'{"text": ["x"]}', "d.wav": clip, "d.json": b"[" * 100_000}
    members |= {"e.wav": clip, "e.txt": b"caf\xe9", "x/f.wav": clip, "x/f.txt": b"f", "x_f.wav": clip, "x_f.txt": b"g"}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    corpus = foreign.corpus([str(tar_of(tmp_path / "x.tar", members))])
    entries = list(corpus.entries(scratch))
    assert [entry.text for entry in entries if isinstance(entry, CorpusUtterance)] == ["f", "g"]
    reasons = [entry.reason for entry in entries if isinstance(entry, Bad)]
    assert reasons[0].startswith("2 recordings in it, 1.wav, 2.wav; a sample's name ends at its first dot")
    assert reasons[1] == "2 recordings in it, wav, flac"
    assert [word in reason for word, reason in zip(("'text' is", "JSON", "UTF-8"), reasons[2:], strict=True)] == [
        True
    ] * 3


def test_keys_that_become_equal_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "a.wav")
    lines = [{"path": "a.wav", "text": key, "key": key} for key in ("x.1", "x-1", "y", "y")]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build(manifest.corpus(tmp_path / "m.jsonl"), tmp_path / "out", CorpusOptions())
    assert [sample.key for sample in read_shard(tmp_path / "out" / "000000.tar")] == ["x-1", "x-1-2", "y", "y-2"]
    assert "1 key(s) became equal to others when cleaned: 'x-1' is x-1-2, for 'x.1' is x-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["../victim/000000.tar", "{root}/victim/000000.tar", "a/../../victim/000000.tar", "n.txt"]
)
def test_a_record_deletes_nothing_outside(tmp_path: Path, name: str) -> None:
    victim, out = tmp_path / "victim" / "000000.tar", tmp_path / "out"
    write_wav(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "x"}\n')
    for folder_ in (victim.parent, out):
        folder_.mkdir()
    victim.write_text("kept")
    (out / "data.json").write_text(json.dumps({"shards": [name.format(root=tmp_path)], "failed": 0, "made": "x"}))
    with pytest.raises(ArlError, match="data.json: not written by arl data"):
        build(manifest.corpus(tmp_path / "m.jsonl"), out, CorpusOptions())
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("name", ["data.json", "LICENSE.txt"])
@pytest.mark.parametrize("content", ["{}", "not JSON", "[" * 100_000, '{"shards": ["000000.tar"]}'])
def test_a_file_of_others_is_not_replaced(tmp_path: Path, name: str, content: str) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "x"}\n')
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    with pytest.raises(ArlError, match=f"out/{name}: not written by arl data.* another --out"):
        build(manifest.corpus(tmp_path / "m.jsonl"), tmp_path / "out", CorpusOptions())
    assert (tmp_path / "out" / name).read_text() == content and len(list((tmp_path / "out").iterdir())) == 1


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    corpus = tmp_path / "m.jsonl"
    write_wav(tmp_path / "a.wav")
    corpus.write_text('{"path": "a.wav", "text": "x"}\n{"path": "a.wav", "text": "y"}\n')
    build(manifest.corpus(corpus), tmp_path / "victim", CorpusOptions())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train").symlink_to(tmp_path / "victim")
    (tmp_path / "out" / f"{publish.PART}x").symlink_to(tmp_path / "victim")
    with pytest.raises(ArlError, match="out/train: a link that leads out"):
        build(manifest.corpus(corpus), tmp_path / "out", CorpusOptions(split={"train": 0.5, "test": 0.5}))
    build(manifest.corpus(corpus), tmp_path / "out", CorpusOptions())
    assert (tmp_path / "victim" / "000000.tar").is_file()


def test_an_input_is_not_replaced(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "x"}\n')
    build(manifest.corpus(tmp_path / "m.jsonl"), tmp_path / "out", CorpusOptions())
    shard = tmp_path / "out" / "000000.tar"
    before = shard.read_bytes()
    with pytest.raises(ArlError, match="is read by this command"):
        build(foreign.corpus([str(shard)]), tmp_path / "out", CorpusOptions())
    assert shard.read_bytes() == before
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "data.json").write_text('{"path": "../a.wav", "text": "x"}\n')
    with pytest.raises(ArlError, match="list/data.json: is read by this command"):
        build(manifest.corpus(tmp_path / "list" / "data.json"), tmp_path / "list", CorpusOptions())
    (tmp_path / "link").symlink_to("out")
    for source in ({"shards": [str(tmp_path / "out")]}, {"folder": tmp_path / "out"}):
        with pytest.raises(UsageError, match="link: would write over the input"):
            make_shards(source, tmp_path / "link", Selection())


def test_a_flipped_bit_in_against_is_noticed(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "one"}\n{"path": "a.wav", "text": "two"}\n')
    build(manifest.corpus(tmp_path / "m.jsonl"), tmp_path / "test", CorpusOptions())
    shard = tmp_path / "test" / "000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"one"', b'"ont"'))
    with pytest.raises(ArlError, match=f"{shard}: "):
        build(manifest.corpus(tmp_path / "m.jsonl"), tmp_path / "train", CorpusOptions(against=[str(shard)]))
    assert not (tmp_path / "train").exists()
