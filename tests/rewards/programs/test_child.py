import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.rewards.programs.child import ChildProgram
from arl.rewards.programs.stream import answer_stream
from arl.rewards.programs.utterance import RewardHypothesis, Utterance

HEAD = """
import json, os, sys, time
def answer(line, **more):
    u = json.loads(line)
    print(json.dumps({"key": u["key"], "rewards": [len(h["text"]) for h in u["hyps"]], **more}))
"""
ECHO = "for line in sys.stdin: answer(line)"


def utterance(number: int, size: int = 1) -> Utterance:
    return Utterance(f"u{number}", "r", "en", [RewardHypothesis("x" * number, list(range(size)))])


@contextmanager
def child(body: str):
    program = ChildProgram("prog", [sys.executable, "-c", HEAD + body])
    try:
        yield program
    finally:
        program.kill()


def rewards(program: ChildProgram, count: int) -> list[list[float | None]]:
    rows = ((None, utterance(i)) for i in range(count))
    return [answers[0].rewards for _, _, answers in answer_stream([program], rows)]


@pytest.mark.parametrize(
    "body",
    [
        ECHO,
        "for line in sys.stdin: answer(line); sys.stdout.flush()",
        "lines = sys.stdin.readlines()\nfor line in lines: answer(line)",
        "print('noise', file=sys.stderr)\n" + ECHO,
    ],
    ids=["buffered", "flushed", "reads-all-first", "noisy-stderr"],
)
def test_answers_in_order(body):
    with child(body) as program:
        assert rewards(program, 50) == [[float(i)] for i in range(50)]


@pytest.mark.parametrize("body", [ECHO, "lines = sys.stdin.readlines()\nfor line in lines: answer(line)"])
def test_twenty_thousand_lines_do_not_deadlock(body):
    done = []

    def work():
        with child(body) as program:
            rows = (
                (i, Utterance(f"u{i}", "r", "en", [RewardHypothesis("abc", list(range(30)))])) for i in range(20_000)
            )
            done.append(sum(answers[0].rewards == [3.0] for _, _, answers in answer_stream([program], rows)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(100)
    assert done == [20_000]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.exit(3)", r"exited with code 3 without an answer to line 1 \(key 'u0'\)"),
        ("sys.exit(0)", r"ended without an answer to line 1 \(key 'u0'\)"),
        ("answer(sys.stdin.readline()); sys.exit(4)", r"exited with code 4 without an answer to line 2 \(key 'u1'\)"),
        ("answer(sys.stdin.readline())", r"ended without an answer to line 2 \(key 'u1'\)"),
        ("for line in sys.stdin:\n  if '\"u1\"' not in line: answer(line)", "line 2 .*answered with key 'u2'"),
        ("for line in sys.stdin:\n  if '\"u2\"' not in line: answer(line)", "ended without an answer to line 3"),
        ("for line in sys.stdin: answer(line)\nprint('{}')", "line 4 is one too many"),
        ("for line in sys.stdin: answer(line)\nsys.stdout.flush(); os._exit(5)", "exited with code 5 after its last"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 without an answer to line 1"),
        ("for line in sys.stdin: answer(line, rewards=[float('nan')])", "line 1 .*NaN is refused"),
        ("for line in sys.stdin: answer(line, rewards=[])", "line 1 .*0 entries for 1"),
        ("print(); " + "answer(sys.stdin.readline())", "line 1 .*not a JSON line"),
    ],
)
def test_failures_name_the_line(body, says):
    with child(body) as program, pytest.raises(ArlError, match=says) as caught:
        rewards(program, 3)
    assert str(caught.value).startswith("prog: ")


def test_a_program_that_dies_does_not_block_the_sender():
    with child("sys.exit(7)") as program, pytest.raises(ArlError, match="code 7"):
        rewards(program, 5_000)


def test_a_program_that_cannot_start():
    with pytest.raises(ArlError, match="prog: cannot run '/nowhere/prog'"):
        ChildProgram("prog", ["/nowhere/prog"])


def test_the_last_row_waits_for_the_exit_code():
    seen = []
    body = "for line in sys.stdin: answer(line); sys.stdout.flush()\nsys.exit(9)"
    with child(body) as program, pytest.raises(ArlError, match="code 9"):
        for row, _, _ in answer_stream([program], ((i, utterance(i)) for i in range(4))):
            seen.append(row)
    assert 3 not in seen


def test_timeout():
    with child("time.sleep(60)") as program:
        program.send(utterance(0))
        with pytest.raises(ArlError, match="no answer to line 1 .*within 0.1 s"):
            program.receive(timeout_s=0.1)


def test_killing_takes_the_programs_own_children_along(tmp_path):
    pid_file = tmp_path / "pid"
    body = f"""
import subprocess
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(pid_file)!r}, "w").write(str(inner.pid))
time.sleep(60)
"""
    start = time.monotonic()
    with child(body):
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.05)
            assert time.monotonic() - start < 30
    inner = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while _is_running(inner) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(inner)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_environment_is_added_to():
    body = "n = len(os.environ['EXTRA']) * ('PATH' in os.environ); answer(sys.stdin.readline(), metrics={'home': [n]})"
    program = ChildProgram("prog", [sys.executable, "-c", HEAD + body], {"EXTRA": "four"})
    try:
        program.send(utterance(1))
        program.finish()
        assert program.receive().metrics == {"home": [4.0]}
        program.close()
    finally:
        program.kill()
