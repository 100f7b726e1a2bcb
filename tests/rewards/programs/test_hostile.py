"""Other people's reward programs, in process and as a child: what they do to others, to the stage, and for how long."""

import sys
import time
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.rewards.programs import child as child_module
from arl.rewards.programs import patience
from arl.rewards.programs.resolve import Program, resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance

TEXTS = ["bb", "a", "dddd", "ccc"]
HEAD = "import os, subprocess, sys, time\nfrom arl import reward\n\n@reward\ndef mine(u):\n"
TAIL = "\n\nif __name__ == '__main__':\n    mine.main()\n"
WAYS = pytest.mark.parametrize("as_child", [False, True], ids=["in process", "child"])


def utterance(key: str = "u0") -> Utterance:
    hyps = [RewardHypothesis(text, [1, 2]) for text in TEXTS]
    return Utterance(key, "a", "en", hyps, ["word"], {"list": [1, {"deep": 2}]})


def answers(tmp_path: Path, body: str, as_child: bool, *asked: Utterance, timeout_s: float = 60.0) -> list[list[float]]:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "".join(f"    {line}\n" for line in body.split("\n")) + TAIL)
    with resolve(str(file), as_child).open(timeout_s) as program:
        return run(program, asked or (utterance(),))


def run(program: Program, asked: tuple[Utterance, ...]) -> list[list[float]]:
    for one in asked:
        program.send(one)
    program.finish()
    found = [program.receive().rewards for _ in asked]
    program.close()
    return found  # type: ignore[return-value]


@WAYS
def test_what_a_program_changes_nobody_else_sees(tmp_path: Path, as_child: bool) -> None:
    own = utterance()
    body = (
        "u.hyps.sort(key=lambda h: h.text)\nu.hyps[0].tokens.clear(); u.keywords.append('x')\n"
        "u.meta['list'][1].clear()\n"
        "return [float(len(h.text)) for h in u.hyps]"
    )
    assert answers(tmp_path, body, as_child, own) == [[1.0, 2.0, 3.0, 4.0]]
    assert own == utterance()


@WAYS
@pytest.mark.parametrize("change", ["u.hyps.pop()", "u.hyps.append(u.hyps[0])"])
def test_a_changed_group_does_not_change_what_is_expected(tmp_path: Path, as_child: bool, change: str) -> None:
    with pytest.raises(ArlError, match=r"rewards has [35] entries for 4 hypotheses|without an answer"):
        answers(tmp_path, f"{change}\nreturn [1.0] * len(u.hyps)", as_child)


@WAYS
def test_a_text_cannot_be_assigned(tmp_path: Path, as_child: bool) -> None:
    with pytest.raises(ArlError, match="key 'u0'"):
        answers(tmp_path, "u.hyps[0].text = 'x'\nreturn [1.0] * 4", as_child)


@WAYS
@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit()", "raise SystemExit", "raise GeneratorExit", "os._exit(0)"])
def test_a_program_cannot_end_the_stage(tmp_path: Path, as_child: bool, end: str) -> None:
    with pytest.raises(ArlError, match="mine.*key 'u0'"):
        answers(tmp_path, end, as_child)


def test_a_file_that_exits_when_it_is_loaded_is_an_error(tmp_path: Path) -> None:
    for way_out in ("import sys\nsys.exit(0)\n", "import os\nos._exit(0)\n"):
        (tmp_path / "mine.py").write_text(way_out)
        with pytest.raises(ArlError, match="mine.py: SystemExit"), resolve(str(tmp_path / "mine.py")).open():
            pass


def test_a_child_of_a_program_may_end_at_once(tmp_path: Path) -> None:
    body = "child = os.fork()\nif not child:\n    os._exit(3)\nreturn [float(os.waitpid(child, 0)[1] >> 8)] * 4"
    assert answers(tmp_path, body, False) == [[3.0] * 4]


@WAYS
@pytest.mark.parametrize("value", ["10 ** 400", "float('inf')", "float('nan')", "'1'", "[1.0]"])
def test_what_is_no_finite_number_is_refused(tmp_path: Path, as_child: bool, value: str) -> None:
    with pytest.raises(ArlError, match="mine.*key 'u0'"):
        answers(tmp_path, f"return [1.0, {value}, 1.0, 1.0]", as_child)


@WAYS
def test_a_hung_program_is_named_and_ended(
    tmp_path: Path, as_child: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "NOTE_S", 0.3)
    began = time.monotonic()
    body = "if u.key == 'u2':\n    time.sleep(1000)\nreturn [1.0] * 4"
    with pytest.raises(ArlError, match=r"mine: no answer to line 2 \(key 'u2'\) within 3 s \(--timeout\)"):
        answers(tmp_path, body, as_child, utterance("u1"), utterance("u2"), timeout_s=3.0)
    assert time.monotonic() - began < 30
    assert "mine: no answer to line 2 (key 'u2') for" in capfd.readouterr().err


def test_a_hung_program_cannot_hold_up_the_call_by_catching_everything(tmp_path: Path) -> None:
    body = "try:\n    time.sleep(1000)\nexcept Exception:\n    pass\nreturn [1.0] * 4"
    with pytest.raises(ArlError, match="within 0.5 s"):
        answers(tmp_path, body, False, timeout_s=0.5)


def test_a_program_that_takes_no_more_lines_is_overdue_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LINES_AHEAD", 1)
    program = child_module.ChildProgram("deaf", [sys.executable, "-c", "import time; time.sleep(1000)"], timeout_s=0.5)
    long = utterance()
    long.meta["text"] = "x" * 300_000  # more than a pipe holds
    try:
        with pytest.raises(ArlError, match=r"deaf: no answer to line 1 \(key 'u0'\) within 0.5 s"):
            for _ in range(8):
                program.send(long)
    finally:
        program.kill()


def test_a_child_of_the_program_that_holds_the_pipe_does_not_hold_the_stage(tmp_path: Path) -> None:
    body = "subprocess.Popen(['sleep', '25'], start_new_session=True)\nreturn [1.0] * 4"
    began = time.monotonic()
    assert answers(tmp_path, body, True) == [[1.0] * 4]
    assert time.monotonic() - began < 20


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "MOST_BYTES", 1 << 20)
    code = "import sys\nfor line in sys.stdin:\n    while True: sys.stdout.write('1' * 100000)"
    program = child_module.ChildProgram("endless", [sys.executable, "-c", code])
    try:
        with pytest.raises(ArlError, match=r"endless: line 1 \(key 'u0'\): an answer of more than 1 MB"):
            run(program, (utterance(),))
    finally:
        program.kill()


def test_answers_that_nobody_asked_for_are_not_kept() -> None:
    code = "import sys\nfor line in sys.stdin: pass\nwhile True: print('{}', flush=True)"
    program = child_module.ChildProgram("talker", [sys.executable, "-c", code])
    try:
        with pytest.raises(ArlError, match="talker: line 1"):
            run(program, (utterance(),))
        assert program._answers.qsize() <= 3
    finally:
        program.kill()
