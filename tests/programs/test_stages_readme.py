"""The examples in stages/README.md do what it says."""

import json
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest

from arl.programs.checker import check_program, sample_utterances
from arl.programs.contract import ANSWER_SCHEMA, UTTERANCE_SCHEMA, utterance_line
from arl.programs.shipped import shipped_dir, shipped_rewards

README = (shipped_dir() / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def lines() -> bytes:
    with sample_utterances() as utterances:
        return b"".join(map(utterance_line, utterances))


def test_the_ten_line_reward(tmp_path, lines, capsys):
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "mine.py"
    path.write_text(code)
    check_program(f"{path} --limit 12")
    assert capsys.readouterr().err == ""
    done = subprocess.run([sys.executable, path, "--limit", "12"], input=lines, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[1])["rewards"][6] == 12 / 100


def test_the_reward_that_reads_waveforms(tmp_path):
    code = blocks("python")[1]
    assert len([line for line in code.splitlines() if line]) <= 10
    path = tmp_path / "loudness.py"
    path.write_text(code)
    check_program(str(path))
    with sample_utterances() as utterances:
        line = utterance_line(utterances[0])
        mute = json.loads(line)
        del mute["hyps"][0]["wav"]
        given = line + json.dumps(mute).encode() + b"\n"
        done = subprocess.run([sys.executable, path], input=given, capture_output=True, check=True)
    heard, missing = (json.loads(answer)["rewards"] for answer in done.stdout.splitlines())
    tone = 8000 / 32768 / 2**0.5  # what `arl check` gives each hypothesis
    assert heard == [pytest.approx(tone, rel=1e-3)] and missing == [None]


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
