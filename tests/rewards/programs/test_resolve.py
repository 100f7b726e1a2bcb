import os
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arl.errors import ArlError, UsageError
from arl.rewards.programs.checker import sample_utterances
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.inprocess import InProcessProgram
from arl.rewards.programs.resolve import resolve, split_value
from arl.rewards.programs.shipped import shipped_dir, shipped_rewards
from arl.rewards.programs.stream import answer_stream

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
UV = shutil.which("uv") or shutil.which("uv", path=os.path.dirname(sys.executable))

MINE = """
from arl import reward

@reward
def mine(utterance, bonus: float = 0.0):
    return [len(hyp.text) + bonus for hyp in utterance.hyps]

if __name__ == "__main__":
    mine.main()
"""


def answers_of(spec: str, child: bool = False) -> list[Answer]:
    with sample_utterances() as utterances, resolve(spec, child).open() as program:
        return [answers[0] for _, _, answers in answer_stream([program], ((None, u) for u in utterances))]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wer", ("wer", None)),
        ("wer=0.5", ("wer", 0.5)),
        ("./mine.py --threshold 3=-2", ("./mine.py --threshold 3", -2.0)),
        ("hallucination=-1", ("hallucination", -1.0)),
        ("wer=1e-3", ("wer", 1e-3)),
        ("wer=.5", ("wer", 0.5)),
        ("a=b", ("a=b", None)),
        ("jq -c '. | select(.n==1)'", ("jq -c '. | select(.n==1)'", None)),
        ("awk -f x.awk -v a==3", ("awk -f x.awk -v a==3", None)),
    ],
)
def test_a_number_at_the_end_is_the_weight(text, expected):
    assert split_value(text) == expected


def test_a_weight_beyond_the_floats():
    with pytest.raises(UsageError, match="too large"):
        split_value("wer=1e999")


@given(st.text("abc ./-'", min_size=1, max_size=10).map(str.strip), st.floats(-1e6, 1e6))
def test_any_weight_reads_back(program, weight):
    assert split_value(f"{program}={weight!r}") == (program, weight)


def test_shipped_names():
    assert {"wer", "exact"} <= set(shipped_rewards())
    spec = resolve("wer --floor -1")
    assert (spec.name, spec.in_process, spec.arguments) == ("wer", True, ("--floor", "-1"))
    assert spec.file == shipped_dir() / "reward" / "wer.py"
    assert resolve("wer.py").file == spec.file


@needs_jq
def test_shipped_names_of_jq():
    assert resolve("exact").file == resolve("exact.jq").file == shipped_dir() / "reward" / "exact.jq"


def test_a_file_in_this_folder_beats_a_shipped_one_of_its_file_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wer.py").write_text(MINE)
    assert resolve("wer.py").file.resolve() == tmp_path / "wer.py"
    assert resolve("wer").file == shipped_dir() / "reward" / "wer.py"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a program"),
        ("wer 'x", "No closing quotation"),
        ("no-such-reward", "shipped: asr, .*exact, .*wer.*; a file here: ./no-such-reward"),
        ("./nothing.py", "no such file"),
        ("nothing.jq", "no such file"),
    ],
)
def test_what_is_not_there(text, says):
    with pytest.raises(UsageError, match=says):
        resolve(text)


def test_a_file_that_is_not_executable(tmp_path):
    path = tmp_path / "reward.awk"
    path.write_text("{print}")
    with pytest.raises(UsageError, match="chmod"):
        resolve(str(path))


def test_python_in_process_equals_python_as_a_program(mine):
    inside = answers_of(f"{mine} --bonus 0.25")
    assert inside == answers_of(f"{mine} --bonus 0.25", child=True)
    assert inside == answers_of(f"{sys.executable} {mine} --bonus 0.25")
    assert inside[0].rewards == [25.25]


def test_wer_in_process_equals_wer_as_a_program():
    inside = answers_of("wer")
    assert inside == answers_of("wer", child=True)
    by_key = {answer.key: answer for answer in inside}
    assert by_key["one"].rewards == [1.0]
    twelve = by_key["twelve"].rewards
    assert twelve[:7] == [1.0, 0.75, 0.75, 0.75, 0.0, 1.0, 1 - 99 / 4]
    assert by_key["empty-reference"].rewards == [1.0, -3.0, 1.0]
    assert by_key["中文"].rewards == [1.0, 0.5, 0.0]
    assert by_key["twelve"].metrics["deletions"][4] == 4.0
    assert by_key["twelve"].metrics["length"] == [4.0] * 12


def test_wer_floor():
    assert min(answers_of("wer --floor -1")[1].rewards) == -1.0


def test_words_hidden_in_brackets_count():
    from arl.rewards.programs.inprocess import load_reward
    from arl.rewards.programs.utterance import RewardHypothesis, Utterance

    wer = load_reward(shipped_dir() / "reward" / "wer.py")
    hidden = [RewardHypothesis("hello (and much more)"), RewardHypothesis("hello"), RewardHypothesis("<noise> hello")]
    assert wer.answer(Utterance("u", "hello", "en", hidden), "").rewards == [-2.0, 1.0, 0.0]
    tagged = wer.answer(Utterance("u", "<noise> hello", "en", hidden), "").rewards
    assert tagged == [-2.0, 1.0, 1.0]  # a tag of the reference spares that tag alone


@needs_jq
def test_jq_files_and_commands(tmp_path):
    exact = {answer.key: answer.rewards for answer in answers_of("exact")}
    assert exact["twelve"] == [1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0, 0]
    assert exact["empty-reference"] == [1.0, 0.0, 0.0]
    program = "{key, rewards: [.hyps[].text | length]}"
    path = tmp_path / "length.jq"
    path.write_text(program)
    assert answers_of(str(path)) == answers_of(f"jq -c '{program}'")
    assert resolve(f"jq -c '{program}'").name == "jq"


def test_an_executable_file(mine):
    script = mine.parent / "run.sh"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {mine}\n")
    script.chmod(0o755)
    assert answers_of(str(script)) == answers_of(str(mine))


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_a_file_with_dependencies_of_its_own_runs_under_uv(mine):
    path = mine.parent / "own.py"
    path.write_text("# /// script\n# requires-python = '>=3.11'\n# dependencies = []\n# ///\n" + MINE)
    spec = resolve(str(path))
    assert not spec.in_process and spec.command[1:3] == ("run", "--script")
    assert answers_of(str(path)) == answers_of(str(mine))


def test_dependencies_without_uv_say_so(mine, monkeypatch):
    mine.write_text("# /// script\n# dependencies = []\n# ///\n" + MINE)
    monkeypatch.setattr("arl.rewards.programs.resolve.shutil.which", lambda *_, **__: None)
    with pytest.raises(ArlError, match="needs uv: install uv"):
        resolve(str(mine))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("x = (", "SyntaxError"),
        ("x = 1", "has 0 @reward functions, one is expected.*--child"),
        ("from arl import reward\na = reward(lambda u: [])\nb = reward(lambda u: [])", "has 2 @reward"),
    ],
)
def test_files_that_cannot_run_in_process(mine, content, says):
    mine.write_text(content)
    with pytest.raises(ArlError, match=says):
        InProcessProgram("mine", mine)


def test_a_crash_in_process_names_the_line(mine):
    mine.write_text(MINE.replace("len(hyp.text)", "1 / len(hyp.text)"))
    with pytest.raises(ArlError, match=r"mine: line 2 \(key 'twelve'\): ZeroDivisionError"):
        answers_of(str(mine))
    with pytest.raises(ArlError, match=r"mine: exited with code 1 without an answer to line 2 \(key 'twelve'\)"):
        answers_of(str(mine), child=True)


def test_unknown_options_are_usage_errors(mine):
    with pytest.raises(UsageError, match="mine: unrecognized arguments: --bogus"):
        answers_of(f"{mine} --bogus 1")


def test_a_changed_file_is_loaded_again_and_an_equal_one_is_not(mine):
    mine.write_text(MINE + "\nimport sys\nsys.loads = getattr(sys, 'loads', 0) + 1\n")
    before = getattr(sys, "loads", 0)
    answers_of(str(mine)), answers_of(str(mine))
    assert sys.loads == before + 1
    mine.write_text(MINE.replace("len(hyp.text)", "7"))
    assert answers_of(str(mine))[0].rewards == [7.0]


def test_a_program_may_import_its_neighbour(mine):
    (mine.parent / "neighbour_of_mine.py").write_text("BONUS = 5.0")
    mine.write_text("from neighbour_of_mine import BONUS\n" + MINE.replace("bonus for", "BONUS for"))
    assert answers_of(str(mine))[0].rewards == answers_of(str(mine), child=True)[0].rewards == [30.0]


def test_fingerprint_follows_the_content(mine):
    before = resolve(f"{mine} --bonus 1").fingerprint()
    assert before == resolve(f"{mine} --bonus 1", child=True).fingerprint()
    assert before != resolve(f"{mine} --bonus 2").fingerprint()
    command = resolve(f"{sys.executable} {mine}").fingerprint()
    mine.write_text(MINE + "#")
    assert before != resolve(f"{mine} --bonus 1").fingerprint()
    assert command != resolve(f"{sys.executable} {mine}").fingerprint()
