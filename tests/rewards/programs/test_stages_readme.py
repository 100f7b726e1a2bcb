"""The examples in stages/README.md do what it says."""

import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

from arl.rewards.programs.checker import check_program, sample_utterances
from arl.rewards.programs.contract import ANSWER_SCHEMA, UTTERANCE_SCHEMA, utterance_line
from arl.rewards.programs.shipped import shipped_dir, shipped_rewards
from tests.docs.pages import shell_lines, shown_program

README = (shipped_dir() / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def lines() -> bytes:
    with sample_utterances() as utterances:
        return b"".join(map(utterance_line, utterances))


def test_the_ten_line_reward(tmp_path, lines, capsys):
    code = shown_program("novelty")
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "novelty.py"
    path.write_text(code)
    check_program(f"{path} --window 2")
    assert capsys.readouterr().err == ""
    done = subprocess.run([sys.executable, path, "--window", "2"], input=lines, capture_output=True, check=True)
    answer = json.loads(done.stdout.splitlines()[1])  # "", then "fox " * 100
    assert answer["rewards"][3:7] == [1, None, 1, 1 / 99]
    assert answer["metrics"]["words"][3:7] == [5, 0, 4, 100]


def test_the_ten_lines_that_listen(tmp_path, capsys):
    code = shown_program("pace")
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "pace.py"
    path.write_text(code)
    check_program(f"{path} --seconds-per-word 0.5")
    assert capsys.readouterr().err == ""
    with sample_utterances() as (one, *_):  # 5 words, and a clip of 1 s
        silent = replace(one, hyps=[*one.hyps, replace(one.hyps[0], wav=None)])
        done = subprocess.run([sys.executable, path], input=utterance_line(silent), capture_output=True, check=True)
    assert json.loads(done.stdout)["rewards"] == [-0.5, None]


def test_the_reward_of_the_samples_themselves(tmp_path):
    path = tmp_path / "steady.py"
    path.write_text(shown_program("steady"))
    with sample_utterances() as (one, *_):
        silent = replace(one, hyps=[*one.hyps, replace(one.hyps[0], wav=None)])
        done = subprocess.run([sys.executable, path], input=utterance_line(silent), capture_output=True, check=True)
    tone, none = json.loads(done.stdout)["rewards"]
    assert tone == pytest.approx(2 / math.pi, rel=0.01) and none is None


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_jq_line(tmp_path, lines):
    (line,) = (line for line in shell_lines("stages/README.md") if "jq -c" in line)
    command, _, weight = shlex.split(line)[-1].rpartition("=")
    assert weight == "0.1"
    done = subprocess.run(command, shell=True, input=lines, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[1])["rewards"] == [1] * 6 + [0] + [1] * 5
    check_program(command)
    path = tmp_path / "ended.jq"
    path.write_text(shlex.split(command)[2])
    check_program(str(path))


def test_the_json_lines_fit_the_schemas():
    utterance, answer = map(json.loads, blocks("json"))
    jsonschema.validate(utterance, UTTERANCE_SCHEMA)
    jsonschema.validate(answer, ANSWER_SCHEMA)


def test_every_shipped_program_is_listed():
    for name, path in shipped_rewards().items():
        assert f"| `{name}` (`reward/{path.name}`)" in README
