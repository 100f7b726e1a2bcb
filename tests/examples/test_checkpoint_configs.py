"""The configurations of recognition checkpoints: each parses, plans commands that arl takes, and fits its machine."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from arl.cli.main import make_app
from arl.models import families
from arl.models.speech_lm.family import SpeechLm
from arl.planning.memory import Setup, parts_gb, total_gb
from benchmarks.models import QWEN2_7B, Shape
from tests.examples.tables import ROOT, make, planned

CONFIGS = sorted((ROOT / "examples").glob("*/config.mk"))
NAMES = [path.parent.name for path in CONFIGS if "include examples/checkpoint.mk" in path.read_text()]
VARIANTS = {"granite-speech-plus", "music-flamingo", "qwen3-asr-original", "qwen3-omni"}  # of a family that has one
MACHINES = {"1x24": (1, 24), "1x80": (1, 80), "8x80": (8, 80)}
SHAPES = {  # of each SIZE the largest of the families'
    "small": Shape("0.6B", 1024, 28, 16, 8, 3072, 151936),
    "medium": Shape("2B", 2048, 40, 32, 8, 8192, 151936),
    "large": Shape("4B", 3072, 32, 24, 8, 8192, 200064),
    "7B": QWEN2_7B,
}
BESIDE_GB = 1.0  # the CUDA context and what the allocator wastes


def plan(name: str, *values: str) -> str:
    return planned("loop", "RUN=/nonexistent/run", f"CONFIG=examples/{name}/config.mk", "STEPS=2", *values)


def words_of(commands: str, command: str) -> list[str]:
    """The first `arl command …` of a plan, up to where the shell goes on."""
    (line, *_) = [line for line in commands.splitlines() if f"arl {command} " in line]
    text = re.sub(r'\$\(\([^)]*\)\)|"\$\w+"', "1", line[line.index(f"arl {command} ") :])
    return shlex.split(re.split(r" (?:\||>|&&) ", text)[0])


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_every_family_has_a_configuration() -> None:
    assert {*NAMES, *VARIANTS} == {name for name, family in families().items() if isinstance(family, SpeechLm)}
    ours, theirs = ((ROOT / page).read_text() for page in ("examples/CHECKPOINTS.md", "arl/models/README.md"))
    assert all(f"({name}/config.mk)" in ours for name in NAMES)
    assert all(f"`{name}`" in theirs for name in (*NAMES, *VARIANTS))


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_short_and_plans_commands_that_arl_takes(name: str) -> None:
    assert len(Path(ROOT / "examples" / name / "config.mk").read_text().splitlines()) <= 10
    commands, app = plan(name), typer.main.get_command(make_app())
    for command in ("init", "encode", "sync", "rollout", "reward", "update", "eval"):
        words = words_of(commands, command)
        with app.make_context("arl", words[1:], resilient_parsing=True):
            pass
        known = {option for parameter in app.commands[command].params for option in parameter.opts}
        assert {word for word in words if re.match("--?[a-z]", word)} <= known, words
    assert value(words_of(commands, "init"), "--from").count("/") >= 1
    assert int(value(words_of(commands, "rollout"), "--group")) >= 4
    assert 0 < float(value(words_of(commands, "update"), "--lr")) < 1e-4


def test_the_prompt_is_given_to_init() -> None:
    words = words_of(plan("qwen2-audio", "INSTRUCTION=Write it, please.", "LANGUAGE=en", "HOTWORDS=1"), "init")
    assert (value(words, "--instruction"), value(words, "--language")) == ("Write it, please.", "en")
    assert "--hotwords" in words
    assert "--language" not in words_of(plan("qwen3-asr", "LANGUAGE="), "init")


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_memory_flags_fit_the_machine(size: str, machine: str) -> None:
    """By the formulas of arl/planning, the reference's pass included."""
    values = (f"SIZE={size}", f"MACHINE={machine}")
    commands, (gpus, each) = plan("qwen2-audio", *values), MACHINES[machine]
    words = words_of(commands, "update")
    assert (f"torchrun --nproc-per-node {gpus} " in commands) == (gpus > 1)
    tokens = int(value(words, "--tokens"))
    rank = int(value(words, "--lora-rank")) if "--lora-rank" in words else 0
    setup = Setup(gpus, "--offload" in words, "--checkpointing" in words, tokens=tokens, lora_rank=rank)
    assert total_gb(parts_gb(SHAPES[size], setup)) + BESIDE_GB <= each


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = make(
        f"{tmp_path}/data/data.done", "-o", ".venv/arl.done", "CONFIG=examples/glm-asr/config.mk", f"RUN={tmp_path}"
    )
    (line, _) = done.stderr.splitlines()  # and make's own
    assert done.returncode != 0 and line.startswith(f"{tmp_path}/data: train/ and test/ want shards: arl data")


def test_another_machine_is_refused() -> None:
    done = make("-n", "help", "CONFIG=examples/glm-asr/config.mk", "MACHINE=2x2")
    assert done.returncode != 0 and "no MEMORY flags for SIZE=medium MACHINE=2x2" in done.stderr
