"""The examples in stages/README.md do what it says."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

from arl.rewards.programs.checker import check_program, sample_utterances
from arl.rewards.programs.contract import ANSWER_SCHEMA, UTTERANCE_SCHEMA, utterance_line
from arl.rewards.programs.shipped import shipped_dir, shipped_rewards

README = (shipped_dir() / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def lines() -> bytes:
    with sample_utterances() as utterances:
        return b"".join(map(utterance_line, utterances))


def test_the_ten_line_reward(tmp_path, lines, capsys):
    code, _ = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "mine.py"
    path.write_text(code)
    check_program(f"{path} --limit 12")
    assert capsys.readouterr().err == ""
    done = subprocess.run([sys.executable, path, "--limit", "12"], input=lines, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[1])["rewards"][6] == 12 / 100


def test_the_ten_lines_that_listen(tmp_path, capsys):
    _, code = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "pace.py"
    path.write_text(code)
    check_program(f"{path} --seconds-per-word 0.5")
    assert capsys.readouterr().err == ""
    with sample_utterances() as (one, *_):  # 5 words, and a clip of 1 s
        silent = replace(one, hyps=[*one.hyps, replace(one.hyps[0], wav=None)])
        done = subprocess.run([sys.executable, path], input=utterance_line(silent), capture_output=True, check=True)
    assert json.loads(done.stdout)["rewards"] == [-0.5, None]


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_jq_line(tmp_path, lines):
    (command,) = (block.strip() for block in blocks("sh") if block.startswith("jq"))
    done = subprocess.run(command, shell=True, input=lines, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[1])["rewards"] == [1] * 6 + [0] + [1] * 5
    check_program(command)
    path = tmp_path / "ended.jq"
    path.write_text(command.removeprefix("jq -c '").removesuffix("'"))
    check_program(str(path))


def test_the_json_lines_fit_the_schemas():
    utterance, answer = map(json.loads, blocks("json"))
    jsonschema.validate(utterance, UTTERANCE_SCHEMA)
    jsonschema.validate(answer, ANSWER_SCHEMA)


def test_every_shipped_program_is_listed():
    for name, path in shipped_rewards().items():
        assert f"| `{name}` (`reward/{path.name}`)" in README
