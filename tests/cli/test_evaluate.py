"""`arl eval` without an engine: other systems' transcripts, and two evaluations compared, as a person types it.

The engine's side is in test_loop.py.
"""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from arl.cli.evaluate import evaluate
from arl.errors import ArlError, UsageError
from arl.shards.columns import META, dumps
from arl.shards.writer import write_shard

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)

TEXTS = {"a": "press any key", "b": "leave a message for anna", "c": "goodbye"}
A = {"a": "press any key", "b": "leave the massage for hannah", "c": "goodbye"}  # 3 substitutions
B = {"a": "press any key", "b": "leave a message for anna", "c": "goodbye bye bye bye bye bye bye"}


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/short and data/long with the same three utterances, a.tsv and b.tsv, eval/a and eval/b made from them."""
    monkeypatch.chdir(tmp_path)
    for name in ("short", "long"):
        meta = {key: {"text": text, "lang": "en", "duration_s": 1.0} for key, text in TEXTS.items()}
        meta["b"]["keywords"] = ["Anna"]
        write_shard(tmp_path / "data" / name / "000000.tar", [(key, {META: dumps(m)}) for key, m in meta.items()])
    for name, texts in (("a", A), ("b", B)):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{key}\t{text}\n" for key, text in texts.items()))
        run(
            "--set", "short=data/short", "--set", "long=data/long", "--transcripts", f"{name}.tsv", "-o", f"eval/{name}"
        )
    return tmp_path


def summary(folder: str) -> dict:
    return json.loads(Path(folder, "summary.json").read_text())


def test_transcripts_of_two_sets(folders: Path) -> None:
    found = summary("eval/b")
    assert found["transcripts"] == "b.tsv" and found["failed"] == 0
    assert (found["utterances"], found["words"], found["insertions"]) == (6, 18, 12)
    assert found["sets"]["long"]["wer"] == pytest.approx(6 / 9)
    assert found["sets"]["short"]["keyword_f1"] == 1.0 and summary("eval/a")["keyword_recall"] == 0.0
    rows = [json.loads(line) for line in Path("eval/b/utterances.jsonl").read_text().splitlines()]
    assert [(row["set"], row["key"]) for row in rows] == [(s, k) for s in ("short", "long") for k in "abc"]
    assert "ngram_loop" in rows[2]["rules"] and rows[1]["keywords_matched"] == 1


def test_what_is_printed_in_a_pipe(folders: Path) -> None:
    words = ["--set", "short=data/short", "--set", "long=data/long", "--transcripts", "b.tsv", "-o", "eval/c"]
    lines = run(*words, "--compare", "eval/a").stdout.splitlines()
    assert lines[0] == "transcripts b.tsv: 6 utterances, 18 words"
    assert lines[1].split() == ["%,", "95", "%", "interval", "short", "long", "all", "sets"]
    assert lines[2].split()[:2] == ["WER", "66.67"]
    assert any(line.startswith("  ngram_loop") for line in lines)
    assert not any(line.startswith("  script") for line in lines)  # it has not fired
    assert all(line == line.rstrip() for line in lines)
    start = "short, against eval/a: WER 33.33 % → 66.67 %, relative +100.0 % (95 % paired, over utterances: "
    assert lines[-3].startswith(start)
    assert lines[-1].startswith("all sets, against eval/a: ") and lines[-1].endswith(", not significant)")
    assert " … +∞ %, p = 0.75" in lines[-1]  # some draws have no error of A
    assert summary("eval/c")["compared_with"]["relative"] == 1.0


def test_a_missing_transcript_is_a_failed_utterance(folders: Path) -> None:
    Path("few.tsv").write_text("a\tpress any key\nb\tleave a message\n")
    words = ["--shards", "data/short", "--transcripts", "few.tsv", "-o", "eval/few"]
    with pytest.raises(ArlError, match="c: no transcript of this utterance"):
        run(*words)
    assert "1 utterances failed" in run(*words, "--max-failed", "1").stdout
    assert (summary("eval/few")["failed"], summary("eval/few")["utterances"]) == (1, 2)


@pytest.mark.parametrize("words", [["--compare", "eval/a", "eval/b"], ["--compare", "eval/a", "--compare", "eval/b"]])
def test_two_evaluations_compared(folders: Path, words: list[str]) -> None:
    lines = run(*words, "--top", "2").stdout.splitlines()
    assert lines[:3] == ["A: eval/a", "B: eval/b", "short: 3 utterances, 9 words"]
    table = {line.rpartition("  ")[0][:17].strip(): line.split() for line in lines[3:16]}
    assert table["WER"][1:4] == ["33.33", "66.67", "+33.33"]
    assert [line for line in lines if line.endswith("words") and "errors" in line] == [
        "long/c: 0 → 6 errors in 1 words",
        "short/c: 0 → 6 errors in 1 words",
    ]
    assert lines[-3:] == [
        "REF goodbye *** *** *** *** *** ***",
        "A   goodbye",
        "B   goodbye BYE BYE BYE BYE BYE BYE",
    ]


def test_the_comparison_as_json(folders: Path) -> None:
    found = json.loads(run("--compare", "eval/a", "eval/b", "--json", "--top", "3").stdout)
    assert (found["a"], found["b"]) == ("eval/a", "eval/b")
    assert found["metrics"]["keyword_recall"] == pytest.approx(
        {"a": 0.0, "b": 1.0, "change": 1.0, "change_low": 1.0, "change_high": 1.0}
    )
    assert found["sets"]["short"]["rules"]["ngram_loop"]["b"] == pytest.approx(1 / 3)
    assert [(one["a"]["set"], one["b"]["key"]) for one in found["changed"]] == [
        ("long", "c"),
        ("short", "c"),
        ("long", "b"),
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "nothing to evaluate"),
        (["eval/a"], "eval/a: what is it"),
        (["--compare", "eval/a"], "two folders"),
        (["--compare", "eval/a", "eval/b", "eval/c"], "two folders"),
        (["--shards", "data/short", "--compare", "eval/a", "eval/b"], "against one folder"),
        (["--shards", "data/short", "--set", "short=data/short"], "--set test=data/short"),
        (["--set", "data/short"], "write NAME=SHARDS"),
    ],
)
def test_command_lines_that_mean_nothing(folders: Path, words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run(*words)


def test_a_baseline_that_is_not_there_is_noticed_before_the_work(folders: Path) -> None:
    with pytest.raises(ArlError, match="no evaluation there"):
        run("--shards", "data/short", "--transcripts", "b.tsv", "-o", "eval/late", "--compare", "eval/nowhere")
    assert not Path("eval/late").exists()


def test_an_evaluation_does_not_write_over_what_it_reads(folders: Path) -> None:
    Path("link").symlink_to("eval/a")
    before = Path("eval/a/utterances.jsonl").read_bytes()
    words = ["--shards", "data/short", "--transcripts", "b.tsv"]
    for out, others in (("eval/a", ["--compare", "eval/a"]), ("link", ["--compare", "eval/a"]), ("data/short", []),
                        ("eval/b", ["--transcripts", "eval/b/summary.json"])):  # fmt: skip
        with pytest.raises(UsageError, match=f"--out {out}: would write over the input .*; give another folder"):
            run(*words, *others, "-o", out)
    Path("file").touch()
    with pytest.raises(ArlError, match="file/eval: cannot be written, as .*file is read-only or no folder"):
        run(*words, "-o", "file/eval")
    assert Path("eval/a/utterances.jsonl").read_bytes() == before and not list(Path("data/short").glob("*.json*"))


def test_flags_of_synthesis_are_refused_before_the_work(folders: Path) -> None:
    with pytest.raises(UsageError, match="--samples is for synthesis; this is an evaluation of recognition"):
        run("--shards", "data/short", "--transcripts", "b.tsv", "-o", "eval/late", "--samples", "8")
    assert not Path("eval/late").exists()


def test_recognition_imports_no_torch(folders: Path) -> None:
    program = "import sys; from arl.cli.main import make_app; make_app('eval')(sys.argv[1:], standalone_mode=False); "
    words = ["eval", "--shards", "data/short", "--transcripts", "b.tsv", "-o", "eval/d", "--compare", "eval/c"]
    run(*words[1:5], "-o", "eval/c")
    done = subprocess.run(
        [sys.executable, "-c", program + "sys.exit('torch' in sys.modules)", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def on_a_terminal(*words: str, **environment: str) -> str:
    """What `arl` prints on a terminal."""
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "FORCE_COLOR")}
    settings = {**kept, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    command = [sys.executable, "-c", "from arl.cli.main import main; main()", *words]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=settings)
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait() == 0, b"".join(parts).decode()
    return b"".join(parts).decode()


def test_colours_on_a_terminal_unless_told_otherwise(folders: Path) -> None:
    coloured = on_a_terminal("eval", "--compare", "eval/a", "eval/b", "--top", "4")
    assert "\x1b[36mBYE\x1b[0m" in coloured and "\x1b[33mHANNAH\x1b[0m" in coloured and "│ WER " in coloured
    plain = on_a_terminal("eval", "--compare", "eval/a", "eval/b", "--top", "4", NO_COLOR="1")
    assert "\x1b[3" not in plain and "BYE" in plain
    assert all(len(line) <= 80 for line in plain.splitlines())
