import shutil

import pytest

from arl.errors import ArlError
from arl.rewards.programs import checker
from arl.rewards.programs.checker import check_program
from arl.rewards.programs.shipped import shipped_rewards

LISTENS = ("asr", "mos")
NEEDS_A_MODEL = {"emotion"}  # tests/stages/test_listening_rewards.py has one; its last bits differ between processes
BODY = """
import random
from arl import reward

@reward
def mine(utterance):
    return {expression}

if __name__ == "__main__":
    mine.main()
"""


def write(tmp_path, expression: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(BODY.format(expression=expression))
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_rewards().keys() - NEEDS_A_MODEL))
def test_shipped_programs_keep_the_contract(name, capsys, monkeypatch):
    if name in LISTENS:  # seconds a clip: one hypothesis, an empty reference, nothing but empty ones
        monkeypatch.setattr(checker, "_CASES", [case for case in checker._CASES if len(case[3]) in (1, 3)][:3])
    if shipped_rewards()[name].suffix == ".jq" and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    check_program(name)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "waiting, at most" not in line] == []  # a model may load slowly


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("[1.0]", r"mine: line 2 \(key 'twelve'\): rewards has 1 entries for 12"),
        ("[float('nan') if not h.text else 1 for h in utterance.hyps]", r"rewards\[4\] is nan"),
        ("[1 / len(utterance.ref) for h in utterance.hyps]", "'empty-reference'.: ZeroDivisionError"),
        ("[float(__name__ == '__main__') for h in utterance.hyps]", r"\[0.0\] in process but \[1.0\] as a program"),
    ],
)
def test_violations(tmp_path, expression, says):
    with pytest.raises(ArlError, match=says):
        check_program(write(tmp_path, expression))


def test_chance_is_noted(tmp_path, capsys):
    check_program(write(tmp_path, "[random.random() for h in utterance.hyps]"))
    assert "gave other answers" in capsys.readouterr().err


def test_the_tone_can_be_read(tmp_path):
    check_program(write(tmp_path, "[len(h.wav.read()) for h in utterance.hyps]"))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_unflushed_output_is_noted(capsys):
    check_program("jq -c '{key, rewards: [.hyps[] | 1]}'")
    assert "only at the end" in capsys.readouterr().err


def test_a_program_that_hangs(tmp_path):
    script = tmp_path / "hang.sh"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    with pytest.raises(ArlError, match="hang: no answer to line 1 .*within 0.2 s"):
        check_program(str(script), timeout_s=0.2)


def test_a_program_that_does_not_end(tmp_path):
    script = tmp_path / "linger.sh"
    script.write_text("#!/bin/sh\njq -c --unbuffered '{key, rewards: [.hyps[] | 1]}'\nsleep 60\n")
    script.chmod(0o755)
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    with pytest.raises(ArlError, match="linger: still running 1 s after the end of its input"):
        check_program(str(script), timeout_s=1)
