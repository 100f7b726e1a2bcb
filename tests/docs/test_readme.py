"""What the READMEs show is what the command line takes, and the shown reward programs run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from arl.cli.main import make_app
from arl.cli.update import OF_RL, OF_SPEECH
from arl.losses import NAMES
from arl.rewards.programs.checker import check_program

ROOT = Path(__file__).resolve().parents[2]
LOSSES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "arl" / "losses").glob("*.md"))
PAGES = ["README.md", "examples/asr/README.md", "arl/evaluation/README.md", "examples/CLUSTER.md", *LOSSES]


def shell_lines(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def shown_program(name: str) -> str:
    """The Python of README.md that defines this reward."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = [block for block in blocks if f"def {name}(" in block]
    return code


def commands_of(words: list[str]) -> list[list[str]]:
    """The commands of a pipeline."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


@pytest.mark.parametrize("page", PAGES)
def test_every_arl_command_shown_has_valid_flags(page: str) -> None:
    command = typer.main.get_command(make_app())
    lines = [shlex.split(line, comments=True) for line in shell_lines(page) if line.startswith("arl ")]
    shown = [command for words in lines for command in commands_of(words)]
    assert shown
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
    text = "".join((ROOT / page).read_text() for page in [*PAGES, "examples/tts/README.md"])
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


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_jq_one_liner_runs() -> None:
    (line,) = [line for line in shell_lines("README.md") if "jq -c" in line]
    spec = shlex.split(line)[-1].rpartition("=")[0]
    check_program(spec)


def test_cosyvoices_configuration_is_the_papers() -> None:
    command = ["make", "-n", "loop", "RUN=/nonexistent/run", "CONFIG=examples/cosyvoice2/config.mk", "STEPS=1"]
    words = [*command, "START=CosyVoice2", "INIT=--voice ann=ann.wav:hello", "TOKEN_ASR=asr"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "arl init --from CosyVoice2 --voice ann=ann.wav:hello -o /nonexistent/run/policy" in done.stdout
    assert "--group 8" in done.stdout and "--loss combined" in done.stdout and "--beta 0.1" in done.stdout
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
