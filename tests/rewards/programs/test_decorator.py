import json
import subprocess
import sys

import numpy as np
import pytest

from arl import reward
from arl.errors import ArlError, UsageError
from arl.rewards.programs.contract import utterance_line
from arl.rewards.programs.utterance import RewardHypothesis, Utterance

TWO = Utterance("u", "a b", "en", [RewardHypothesis("a"), RewardHypothesis("bb")])

PROGRAM = '''
import sys
from arl import reward

@reward
def lengths(utterance, scale: float = 1.0, odd: bool = False):
    """Lengths."""
    print("a word on stdout")
    if utterance.ref == "crash":
        raise ValueError("boom")
    return [scale * len(hyp.text) + odd for hyp in utterance.hyps], {"n": [len(hyp.text) for hyp in utterance.hyps]}

if __name__ == "__main__":
    lengths.main()
'''


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([1, 0.5], [1.0, 0.5]),
        ((True, None), [1.0, None]),
        (np.array([0.25, 1.0], dtype=np.float32), [0.25, 1.0]),
        (np.array([True, False]), [1.0, 0.0]),
        ([np.int64(3), np.float64(2)], [3.0, 2.0]),
        ((x for x in (1.0, 2.0)), [1.0, 2.0]),
    ],
)
def test_what_a_function_may_return(returned, expected):
    program = reward(lambda utterance: returned)
    if isinstance(returned, tuple):  # a pair means (rewards, metrics)
        program = reward(lambda utterance: list(returned))
    assert program.answer(TWO, "here").rewards == expected


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (None, "must return a list"),
        (0.5, "must return a list"),
        ("ab", "must return a list"),
        ([0.5], "1 entries for 2"),
        ([0.5, float("nan")], "nan, which is refused"),
        ([0.5, "1"], "not a number"),
        (([0.5, 1], [0.5, 1]), "metrics must be a dict"),
    ],
)
def test_what_a_function_may_not_return(returned, says):
    with pytest.raises(ArlError, match=says) as caught:
        reward(lambda utterance: returned).answer(TWO, "here")
    assert str(caught.value).startswith("here")


def test_the_function_stays_callable_and_documented():
    @reward
    def plain(utterance, floor=0.0):
        """What it does."""
        return [floor]

    assert plain(TWO, floor=2.0) == [2.0]
    assert plain.__doc__ == "What it does."


def test_options_come_from_the_signature():
    @reward
    def plain(utterance, floor=0.0, top_k=3, name="x", fast=False, path=None): ...

    assert plain.options([]) == {"floor": 0.0, "top_k": 3, "name": "x", "fast": False, "path": None}
    given = plain.options(["--floor", "-1", "--top-k", "5", "--fast", "--path", "p"])
    assert given == {"floor": -1.0, "top_k": 5, "name": "x", "fast": True, "path": "p"}
    with pytest.raises(UsageError, match="unrecognized"):
        plain.options(["--flor", "1"])
    with pytest.raises(UsageError, match="invalid int"):
        plain.options(["--top-k", "five"])
    with pytest.raises(UsageError, match="needs a default"):
        reward(lambda utterance, floor: [1]).options([])


def run(path, lines: bytes, *arguments: str):
    return subprocess.run([sys.executable, path, *arguments], input=lines, capture_output=True)


def test_the_file_runs_as_a_program(tmp_path):
    path = tmp_path / "lengths.py"
    path.write_text(PROGRAM)
    done = run(path, utterance_line(TWO) * 2, "--scale", "0.5", "--odd")
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"key": "u", "rewards": [1.5, 2.0], "metrics": {"n": [1.0, 2.0]}}
    ] * 2
    assert done.stderr.count(b"a word on stdout") == 2
    assert run(path, b"").stdout == b""
    assert b"--scale" in run(path, b"", "--help").stdout


def test_a_failing_program_says_where(tmp_path):
    path = tmp_path / "lengths.py"
    path.write_text(PROGRAM)
    done = run(path, utterance_line(TWO) + utterance_line(Utterance("v", "crash", "", [])))
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert b"boom" in done.stderr and b"line 2, key 'v'" in done.stderr
    done = run(path, b"{}\n")
    assert done.returncode == 1 and b"lengths: input line 1: utterance: no 'key'" in done.stderr
    assert run(path, b"", "--scale", "x").returncode == 2


def test_importing_the_decorator_is_light():
    code = "import sys, arl; print(sorted({'torch', 'numpy', 'typer', 'transformers', 'jiwer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
