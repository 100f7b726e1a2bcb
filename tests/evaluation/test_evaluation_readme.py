"""The example in arl/evaluation/README.md is what the commands print."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.evaluate import evaluate
from arl.shards.columns import META, dumps
from arl.shards.writer import write_shard

PAGE = Path(__file__).resolve().parents[2] / "arl" / "evaluation" / "README.md"
SAID = {  # set: key: (duration in s, keywords, text)
    "short": {
        "s1": (1.2, [], "press the pound key"),
        "s2": (1.4, ["Seattle"], "the office in seattle is closed"),
        "s3": (0.9, [], "please hold"),
        "s4": (1.6, [], "your call is important to us"),
    },
    "long": {
        "l1": (
            6.5,
            ["Anna", "New York"],
            "this is a message for anna who left for new york last night please call back",
        ),
        "l2": (5.9, [], "all lines are busy now please leave your name and number after the tone"),
        "l3": (7.1, ["Boston"], "the train to boston leaves from track nine in ten minutes have your tickets ready"),
    },
}
A = {
    "s1": "press the pound key",
    "s2": "the office in see addle is closed",
    "s3": "please hold",
    "s4": "your call is an important to us",
    "l1": "this is a message for hannah who left for new york last night please call back",
    "l2": "all lines are busy now please leave your name and name and name and name and name and name",
    "l3": "the train to boston leaves from track nine in ten minutes have your ticket ready",
}
B = {
    **A,
    "s2": "the office in seattle is closed",
    "s4": "your call is important to us",
    "l1": "this is a message for anna who left for new york last night please call",
    "l2": "all lines are busy please leave your name and number after the tone",
}

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)


def run(*words: str) -> str:
    return CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_the_example_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in SAID.items():
        metas = {key: {"text": t, "lang": "en", "duration_s": s, "keywords": k} for key, (s, k, t) in rows.items()}
        write_shard(tmp_path / "data" / name / "000000.tar", [(key, {META: dumps(m)}) for key, m in metas.items()])
    for name, texts in (("start", A), ("final", B)):
        (tmp_path / "them.tsv").write_text("".join(f"{key}\t{text}\n" for key, text in texts.items()))
        sets = [word for one in SAID for word in ("--set", f"{one}=data/{one}")]
        run(*sets, "--transcripts", "them.tsv", "-o", f"eval/{name}")
    printed = run("--compare", "eval/start", "eval/final", "--top", "2")
    shown = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown == [printed]
