"""`arl ls`, `arl cat`, `arl check` through the command line's runner, and in real pipes."""

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from arl.cli import inspect
from arl.cli.inspect import cat, check, ls
from arl.errors import ArlError, UsageError
from arl.rewards.check import names_shards
from arl.shards.columns import EMB, META, PROMPT, REWARD, ROLLOUT, dumps, save_tensor
from arl.shards.writer import write_shard

APP = """
import typer
from arl.cli.inspect import cat, check, ls
app = typer.Typer()
for command in (ls, cat, check):
    app.command()(command)
app()
"""
KEYS = ("utt0", "utt1", "utt2")
WAV = (  # two samples at 16 kHz
    b"RIFF(\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16) + b"data\4\0\0\0\1\0\2\0"
)
HYP = {"text": "hällo", "tokens": [5], "logprobs": [-1.0], "finish": "stop"}

app = typer.Typer()
for command in (ls, cat, check):
    app.command()(command)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def lines(result: Result) -> list:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/, emb/, rollout/ and reward/ with two shards each."""
    monkeypatch.chdir(tmp_path)
    emb = save_tensor("emb", b"\0" * 24, dtype="bfloat16", shape=(3, 4))
    columns = {
        "data": {META: dumps({"text": "hällo", "lang": "de", "duration_s": 1.25}), "wav": WAV},
        "emb": {EMB: emb, PROMPT: dumps({"input_ids": [1, 9, 2]})},
        "rollout": {ROLLOUT: dumps({"policy": "000000-a", "temperature": 1, "hyps": [HYP, HYP]})},
        "reward": {REWARD: dumps({"components": {"wer": [1, 0]}, "rewards": [1, 0], "advantages": [1, -1]})},
    }
    for folder, members in columns.items():
        for shard in ("000000", "000001"):
            write_shard(tmp_path / folder / f"{shard}.tar", [(f"{key}-{shard}", members) for key in KEYS])
    return tmp_path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1500])


def test_ls_in_a_pipe_is_tab_separated(folders: Path) -> None:
    result = run("ls", "data", "emb/000001.tar")
    assert result.exit_code == 0
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["data/000000.tar", "3", "3.8", "json,wav", "whole"],
        ["data/000001.tar", "3", "3.8", "json,wav", "whole"],
        ["emb/000001.tar", "3", "-", "emb.safetensors,prompt.json", "whole"],
    ]


def test_ls_json(folders: Path) -> None:
    (row,) = lines(run("ls", "--json", "data/000000.tar"))
    assert row == {
        "path": "data/000000.tar", "samples": 3, "seconds": 3.75, "members": ["json", "wav"],
        "state": "whole", "problem": None,
    }  # fmt: skip


def test_ls_lists_damage_and_goes_on(folders: Path) -> None:
    damage(folders / "data" / "000000.tar")
    result = run("ls", "data")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "data/000000.tar\t-\t-\t-\tdamaged"
    assert result.stdout.splitlines()[1].endswith("whole")
    assert "data/000000.tar: cut" in result.stderr
    damaged, whole = lines(run("ls", "--json", "data"))
    assert damaged["samples"] is None and "cut" in damaged["problem"] and whole["problem"] is None


def test_ls_on_a_terminal_is_a_table(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for number in range(12):
        write_shard(folders / "[red]wav.tar", [("a", {f"{n:02}.flac": b"" for n in range(number + 1)})])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ls(["data", "[red]wav.tar"])
    table = capsys.readouterr().out
    assert [line.split() for line in table.splitlines()] == [
        ["path", "samples", "seconds", "members", "state"],
        ["data/000000.tar", "3", "3.8", "json,wav", "whole"],
        ["data/000001.tar", "3", "3.8", "json,wav", "whole"],
        ["[red]wav.tar", "1", "-", "*.flac", "whole"],
    ]
    assert "\x1b" not in table
    damage(folders / "data" / "000000.tar")
    with pytest.raises(typer.Exit) as caught:
        ls(["data"])
    assert caught.value.exit_code == 1 and "cut" in capsys.readouterr().err


def test_ls_and_cat_read_standard_input(folders: Path) -> None:
    raw = (folders / "data" / "000000.tar").read_bytes()
    assert run("ls", "-", stdin=raw).stdout == "-\t3\t3.8\tjson,wav\twhole\n"
    assert len(lines(run("cat", "--json", "-", stdin=raw))) == 3
    joined = lines(run("cat", "--json", "-", "--join", "emb/000000.tar", stdin=raw))
    assert list(joined[0]) == ["key", "json", "wav", EMB, PROMPT]
    assert isinstance(run("cat", "--json", "-", stdin=raw[:-1]).exception, ArlError)


def test_cat_json(folders: Path) -> None:
    result = run("cat", "--json", "data", "emb/000000.tar")
    assert result.exit_code == 0
    rows = lines(result)
    assert [row["key"] for row in rows[:4]] == ["utt0-000000", "utt1-000000", "utt2-000000", "utt0-000001"]
    assert rows[0] == {
        "key": "utt0-000000", "json": {"duration_s": 1.25, "lang": "de", "text": "hällo"}, "wav": {"bytes": len(WAV)},
    }  # fmt: skip
    assert rows[6] == {
        "key": "utt0-000000", EMB: {"emb": {"dtype": "bfloat16", "shape": [3, 4]}}, PROMPT: {"input_ids": [1, 9, 2]},
    }  # fmt: skip
    assert "hällo" in result.stdout


def test_cat_joins_row_by_row(folders: Path) -> None:
    for arguments in (["rollout", "--join", "reward"], ["--join", "rollout", "--join", "reward"]):
        rows = lines(run("cat", "--json", *arguments))
        assert [row["key"] for row in rows] == [f"{key}-{shard}" for shard in ("000000", "000001") for key in KEYS]
        assert all(list(row) == ["key", ROLLOUT, REWARD] for row in rows)
    several = lines(run("cat", "--json", "rollout/000000.tar", "rollout/000001.tar", "--join", "reward"))
    assert several == rows


def test_cat_text(folders: Path) -> None:
    result = run("cat", "data/000000.tar")
    assert result.stdout.splitlines()[:3] == [
        "utt0-000000",
        '  json  {"duration_s":1.25,"lang":"de","text":"hällo"}',
        f'  wav   {{"bytes":{len(WAV)}}}',
    ]


def test_cat_other_members(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 3), dtype=np.float16))
    odd = {"a.npy": stream.getvalue(), "txt": "ü\n".encode(), "x.json": b'"\\ud800"', "bin": b"12"}
    write_shard(tmp_path / "a.tar", [("k", odd)])
    (row,) = lines(run("cat", "--json", str(tmp_path / "a.tar")))
    assert row == {
        "key": "k",
        "a.npy": {"dtype": "float16", "shape": [2, 3]},
        "txt": "ü\n",
        "x.json": "\ud800",
        "bin": {"bytes": 2},
    }
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,)}\n"
    for content in (
        "",
        "12",
        "\x93NUMPY\1\0",
        npy(header % 10**15),
        npy(header % -1),
        npy("[" * 900),
        npy("((("),
        "PK\3\4",
    ):
        write_shard(tmp_path / "b.tar", [("k", {"npy": content.encode("latin1")})])
        assert "sample 'k': member 'npy' is not .npy (" in str(run("cat", str(tmp_path / "b.tar")).exception)
        assert "member 'npy' is not .npy" in run("check", str(tmp_path / "b.tar")).stdout


def npy(header: str) -> str:
    """An array's header, of format 1.0, without an array."""
    return "\x93NUMPY\1\0" + struct.pack("<H", len(header)).decode("latin1") + header


def test_depth_is_refused_by_cat_and_check(tmp_path: Path) -> None:
    deep = b"[" * 400 + b"]" * 400
    write_shard(tmp_path / "a.tar", [("k", {"x.json": deep})])
    write_shard(tmp_path / "b.tar", [("k", {PROMPT: b'{"input_ids":[1],"x":' + deep + b"}"})])
    for name in ("a.tar", "b.tar"):
        assert "more than 100 deep" in str(run("cat", "--json", str(tmp_path / name)).exception)
        assert "more than 100 deep" in run("check", str(tmp_path / name)).stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["cat"], UsageError),
        (["cat", "nowhere"], ArlError),
        (["cat", "data", "--join", "data"], ArlError),
        (["cat", "data", "--join", "emb/000000.tar"], ArlError),
        (["ls", "-", "-"], UsageError),
        (["check", "data/{0.tar"], UsageError),
        (["check", "prog.py", "--join", "data"], UsageError),
    ],
)
def test_errors_reach_the_command_line(folders: Path, arguments: list[str], error: type) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert type(result.exception) is error


def test_a_sample_that_is_not_json(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("k", {"json": b"{"})])
    assert "sample 'k': member 'json' is not JSON" in str(run("cat", str(tmp_path / "a.tar")).exception)


def test_check_good_shards(folders: Path) -> None:
    result = run("check", "data", "emb", "rollout/{000000..000001}.tar", "rollout/000000.tar")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "4 targets checked, no problem" in result.stderr
    assert run("check", "rollout", "--join", "reward", "--join", "data").exit_code == 0


def test_check_decodes_audio(tmp_path: Path) -> None:
    odd = WAV.replace(b"\x10\0\0\0\1\0", b"\x10\0\0\0\x99\0")  # a format tag that nobody knows
    meta = dumps({"text": "a", "lang": "en", "duration_s": 1})
    write_shard(tmp_path / "a.tar", [("k", {"wav": odd, "json": meta}), ("l", {"wav": WAV, "json": meta})])
    result = run("check", str(tmp_path / "a.tar"))
    (problem,) = result.stdout.splitlines()
    assert result.exit_code == 1 and problem.startswith(f"{tmp_path}/a.tar: sample 'k': wav: ")


def test_check_finds_changed_bytes_that_ls_does_not(folders: Path) -> None:
    path = folders / "data" / "000000.tar"
    path.write_bytes(path.read_bytes().replace(WAV, WAV[:-2] + b"++"))
    assert run("ls", "data").exit_code == 0
    result = run("check", "data", "emb")
    assert result.exit_code == 1
    (problem,) = result.stdout.splitlines()
    assert problem.startswith("data/000000.tar: ") and "sha256" in problem


def test_check_prints_one_line_a_problem(folders: Path) -> None:
    damage(folders / "data" / "000001.tar")
    write_shard(folders / "emb" / "000000.tar", [("a", {PROMPT: b"{}"}), ("b", {PROMPT: b"[]"})])
    result = run("check", "data", "nowhere/", "emb")
    assert result.exit_code == 1 and "4 problems" in result.stderr
    assert len(result.stdout.splitlines()) == 4
    found = lines(run("check", "--json", "data", "nowhere/", "emb"))
    assert [row["target"] for row in found] == ["data", "nowhere/", "emb", "emb"]


def test_check_joined_lengths(folders: Path) -> None:
    three = dumps({"components": {}, "rewards": [1, 0, 1], "advantages": [1, -1, 0]})
    keys = [f"{key}-000001" for key in KEYS]
    write_shard(folders / "reward" / "000001.tar", [(key, {REWARD: three}) for key in keys])
    assert run("check", "reward").exit_code == 0
    result = run("check", "rollout", "--join", "reward")
    assert result.exit_code == 1
    assert "rollout/000001.tar, reward/000001.tar: sample 'utt0-000001': reward.json: 'rewards' has 3" in result.stdout
    (folders / "reward" / "000001.tar").unlink()
    assert "reward/000001.tar: missing" in run("check", "rollout", "--join", "reward").stdout


def test_check_hands_programs_on(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def check_program(target: str) -> None:
        asked.append(target)
        if target == "bad.py":
            raise ArlError("bad.py: line 1: no answer")

    monkeypatch.setattr("arl.rewards.check.check_program", check_program)
    jq = "jq -c '{key, rewards: [.hyps[] | 1]}'"
    assert run("check", "good.py", jq, "wer", "data").exit_code == 0
    assert asked == ["good.py", jq, "wer"]
    result = run("check", "bad.py")
    assert (result.exit_code, result.stdout) == (1, "bad.py: line 1: no answer\n")


def test_what_is_a_shard_and_what_a_program(folders: Path) -> None:
    for target in ("-", "data", "new/", "x.tar", "{data,emb}", "a-{0..3}.tar", "data/{000000..000001}.tar", "a-{0.tar"):
        assert names_shards(target), target
    for target in ("wer", "mine.py", "./score", "jq -c '{key}'", "awk '{print $1'", "{a,b}.py"):
        assert not names_shards(target), target


@pytest.mark.parametrize("arguments", ["cat --json", "cat", "ls", "ls --json"])
def test_a_closed_pipe_is_no_failure(tmp_path: Path, arguments: str) -> None:
    big = {"json": dumps({"text": "x" * 5000})}
    for shard in range(300 if arguments.startswith("ls") else 1):
        write_shard(tmp_path / f"{shard:0150}.tar", [(f"k{number}", big) for number in range(60)])
    script = f"{sys.executable} -c '{APP}' {arguments} {tmp_path} | head -n 1 | wc -l; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "0"]
    assert result.stderr == ""


def test_the_real_commands_in_a_pipe(folders: Path) -> None:
    script = f"cat data/000000.tar | {sys.executable} -c '{APP}' cat --json - --join emb/000000.tar"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert len(result.stdout.splitlines()) == 3
    named = f"{sys.executable} -c '{APP}' ls <(cat data/000000.tar)"
    result = subprocess.run(["bash", "-c", named], capture_output=True, text=True, check=True)
    assert result.stdout.split("\t")[1:] == ["3", "3.8", "json,wav", "whole\n"]


def test_importing_is_light() -> None:
    heavy = "{'torch', 'numpy', 'webdataset', 'safetensors', 'rich.console'}"
    code = (
        f"import sys, arl.cli.inspect, arl.shards; assert not {heavy} & set(sys.modules), sys.modules.keys() & {heavy}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", [ls, cat, check])
def test_help_has_an_example(command: object) -> None:
    assert command.__doc__ is not None
    assert command.__doc__.strip().splitlines()[-1].strip().startswith(f"Example: arl {command.__name__} ")  # type: ignore[attr-defined]
    assert inspect.__doc__
