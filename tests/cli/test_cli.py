"""The command line as a whole: help for every command, light start, one-line errors, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from arl.cli.main import make_app

HEAVY = {"torch", "transformers", "sglang", "scipy", "numpy", "jiwer", "rapidfuzz", "soundfile", "httpx", "matplotlib"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from arl.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1", **environment})


def commands() -> list[tuple[str, typer.models.CommandInfo]]:
    own = [(info.name or "", info) for info in make_app().registered_commands]
    inner = [
        (f"{group.name} {info.name or info.callback.__name__}", info)
        for group in make_app().registered_groups
        for info in group.typer_instance.registered_commands
    ]
    return own + inner


@pytest.mark.parametrize(("name", "info"), commands())
def test_every_command_has_help_with_an_example(name: str, info: typer.models.CommandInfo) -> None:
    text = info.callback.__doc__ or ""
    assert "Example: arl " in text
    assert f"arl {name}" in text


def test_every_flag_has_help() -> None:
    command = typer.main.get_command(make_app())
    for name, sub in command.commands.items():
        for parameter in getattr(sub, "params", []):
            assert getattr(parameter, "help", None), f"arl {name}: {parameter.opts}"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["reward", "--help"], ["rollout", "--help"], ["update", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = "import json, sys; from arl.cli.main import make_app; make_app()(sys.argv[1:], standalone_mode=False); "
    program += "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


def test_an_expected_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = run("rollout", "--shards", str(tmp_path / "missing"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "missing" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_wrong_flags_are_usage_errors(tmp_path: Path) -> None:
    assert run("rollout", "--grup", "3").returncode == 2
    assert run("update", "--shards", str(tmp_path), "--policy", "x", "--loss", "nope").returncode == 2


def test_of_several_processes_one_says_what_is_wrong_with_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for rank in "01":
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(make_app(), ["encode", "--nonsense"])
        assert done.exit_code == 2
        said.append(done.output)
    assert "No such option: --nonsense" in said[0] and said[1] == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("ls", str(tmp_path / "missing"), ARL_DEBUG="1")
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_version() -> None:
    assert run("--version").stdout.strip() == "0.2.0"
