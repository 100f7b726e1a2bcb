"""What the pages show is what the command line takes, and the shown reward programs run."""

import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from arl.cli.main import make_app
from arl.cli.update import OF_RL, OF_SPEECH
from arl.losses import NAMES
from arl.rewards.programs.checker import check_program
from arl.shards import columns
from arl.shards.rows import ROWS, Hypothesis
from tests.docs.pages import EVERY_PAGE, ROOT, shell_lines, shown_program

LOSSES = [page for page in EVERY_PAGE if page.startswith("arl/losses/")]
WITH_COMMANDS = [page for page in EVERY_PAGE if any(line.startswith("arl ") for line in shell_lines(page))]


def commands_of(words: list[str]) -> list[list[str]]:
    """The commands of a pipeline."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_arl_command_shown_has_valid_flags(page: str) -> None:
    command = typer.main.get_command(make_app())
    lines = [shlex.split(line, comments=True) for line in shell_lines(page) if line.startswith("arl ")]
    shown = [command for words in lines for command in commands_of(words)]
    for words in shown:
        with command.make_context("arl", words[1:], resilient_parsing=True):
            pass
        sub, rest = command.commands[words[1]], words[2:]
        while hasattr(sub, "commands"):
            sub, rest = sub.commands[rest[0]], rest[1:]
        known = {option for parameter in sub.params for option in parameter.opts + parameter.secondary_opts}
        assert {word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= known, words


def test_every_make_target_shown_exists() -> None:
    makefiles = "".join(path.read_text() for path in (ROOT / "Makefile", *(ROOT / "examples").rglob("*.mk")))
    targets = set(re.findall(r"^([a-z0-9-]+):", makefiles, re.MULTILINE))
    text = "".join((ROOT / page).read_text() for page in EVERY_PAGE)
    shown = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE))
    assert shown and shown <= targets


def test_every_loss_has_a_page_and_every_flag_of_theirs_is_named() -> None:
    assert {f"arl/losses/{name}.md" for name in (*NAMES, "rloo", "README")} == set(LOSSES)
    text = "".join((ROOT / page).read_text() for page in LOSSES)
    update = typer.main.get_command(make_app()).commands["update"]
    flags = [p.opts[0] for p in update.params if getattr(p, "rich_help_panel", None) in (OF_RL, OF_SPEECH)]
    assert len(flags) > 10 and not [flag for flag in flags if flag not in text and flag != "--reference"]


def test_the_ten_line_reward_runs(tmp_path: Path) -> None:
    code = shown_program("brevity")
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "mine.py"
    path.write_text(code)
    check_program(str(path))


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_every_column_and_field_is_explained() -> None:
    page = (ROOT / "arl" / "shards" / "README.md").read_text()
    members = {*ROWS, columns.EMB, columns.FEAT, *columns.AUDIO}
    named = {field.name for row in (*ROWS.values(), Hypothesis) for field in fields(row)} - {"rest"}
    assert not [name for name in members if f"`.{name}`" not in page]
    assert not [name for name in named if f"`{name}`" not in page]


def test_cosyvoices_configuration_is_the_papers() -> None:
    command = ["make", "-n", "loop", "RUN=/nonexistent/run", "CONFIG=examples/cosyvoice2/config.mk", "STEPS=1"]
    words = [*command, "START=CosyVoice2", "INIT=--voice ann=ann.wav:hello", "TOKEN_ASR=asr"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "arl init --from CosyVoice2 --voice ann=ann.wav:hello -o /nonexistent/run/policy" in done.stdout
    assert "--group 8" in done.stdout and "--loss combined" in done.stdout and "--beta 0.1" in done.stdout
    assert done.stdout.count("--batch 16") == 2 and "--temperature" not in done.stdout  # its default is 1
    assert "--no-filter" not in done.stdout and "--token-asr asr" in done.stdout
    assert "--with 'asr --by whisper' --with duration --with diversity" in done.stdout
    assert "--voices /nonexistent/run/policy/frontend" in done.stdout


def test_cosyvoice3s_configuration_is_cosyvoice2s() -> None:
    command = ["make", "-n", "loop", "RUN=/nonexistent/run", "CONFIG=examples/cosyvoice3/config.mk", "STEPS=1"]
    words = [*command, "INIT=--voice ann=ann.wav:'You help.<|endofprompt|>hello'"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    voice = "--voice ann=ann.wav:'You help.<|endofprompt|>hello'"
    assert f"arl init --from Fun-CosyVoice3-0.5B {voice} -o /nonexistent/run/policy" in done.stdout
    assert "--group 8" in done.stdout and "--beta 0.1" in done.stdout and "arl decode" in done.stdout


@pytest.mark.parametrize(
    ("family", "flags"),
    [
        ("llasa", "Llasa-1B --codec xcodec2-hf"), ("neutts", "neutts-air --codec neucodec --language en-us"),
        ("outetts", "OuteTTS-1.0-0.6B --codec dac-speech-hf"),
        ("orpheus", "orpheus-3b-0.1-ft --codec snac_24khz --voice tara"),
        ("qwen3-tts", "Qwen3-TTS-12Hz-0.6B-CustomVoice --language sample"),
    ],
)  # fmt: skip
def test_the_configuration_of_a_codecs_lm_parses(family: str, flags: str) -> None:
    command = ["make", "-n", "loop", "RUN=/nonexistent/run", f"CONFIG=examples/{family}/config.mk", "STEPS=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"arl init --from {flags} -o /nonexistent/run/policy" in done.stdout
    assert "--skip similarity" in done.stdout and "--voices" not in done.stdout


def test_the_example_configuration_parses() -> None:
    command = ["make", "-n", "loop", "RUN=/nonexistent/run", "CONFIG=examples/asr/config.mk", "STEPS=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("arl rollout") == 2
