"""`arl check PROGRAM`: the contract, tried on a reward program before a run depends on it.

The sample utterances hold what programs trip over: one and twelve hypotheses, empty ones, an empty
reference, other scripts, characters that need escaping, a hypothesis cut by length. A Python file is run in
process and as a program, and both must give the same numbers. What is allowed but costs something (answers
that differ between runs, or that come only at the end of the input) is a note on stderr.
"""

import math
import struct
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arl.errors import ArlError
from arl.rewards.programs.contract import Answer
from arl.rewards.programs.resolve import ProgramSpec, resolve
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.runtime.console import note
from arl.shards.place import AudioSlice

WAV_RATE, WAV_S = 16000, 1.0
# A first answer later than this was waiting for the end of the input. Several whole runs: a model may load more slowly
# the second time, on a machine that has got other work.
FLUSH_MARGIN_S, FLUSH_RUNS = 2.0, 4


def check_program(spec: str, timeout_s: float = 120.0) -> None:
    """Runs the contract on a program as `--with` names it. ArlError with the first violation.

    timeout_s: the longest wait for one answer, loading a model included.
    """
    program = resolve(spec)
    with sample_utterances() as utterances:
        answers, seconds = _run(program, utterances, timeout_s)
        again, _ = _run(program, utterances, timeout_s)
        deterministic = answers == again
        if not deterministic:
            note(f"{program.name}: note: the same input gave other answers the second time; runs will not repeat")
        if program.in_process:
            program = resolve(spec, child=True)
            outside, seconds = _run(program, utterances, timeout_s)
            if deterministic and outside != answers:
                raise ArlError(f"{program.name}: {_difference(answers, outside)}")
        if not _answers_line_by_line(program, utterances[0], FLUSH_RUNS * seconds + FLUSH_MARGIN_S):
            note(
                f"{program.name}: note: answers come only at the end of the input (unflushed output?), "
                "so a killed run of many shards loses all of them"
            )


def _run(program: ProgramSpec, utterances: list[Utterance], timeout_s: float) -> tuple[list[Answer], float]:
    """The program's answers to all utterances, and the seconds it took."""
    start = time.monotonic()
    with program.open() as running:
        for utterance in utterances:
            running.send(utterance)
        running.finish()
        answers = [running.receive(timeout_s) for _ in utterances]
        running.close(timeout_s)
    return answers, time.monotonic() - start


def _answers_line_by_line(program: ProgramSpec, utterance: Utterance, wait_s: float) -> bool:
    """Whether one line is answered while the input stays open."""
    with program.open() as running:
        running.send(utterance)
        deadline = time.monotonic() + wait_s
        while not running.ready() and time.monotonic() < deadline:
            time.sleep(0.01)
        return running.ready()


def _difference(inside: list[Answer], outside: list[Answer]) -> str:
    for a, b in zip(inside, outside, strict=True):
        if a != b:
            return f"key {a.key!r}: {a.rewards} in process but {b.rewards} as a program"
    return "answers differ in process and as a program"


@contextmanager
def sample_utterances() -> Iterator[list[Utterance]]:
    """The sample utterances; their clips (a tone of 1 s, 16 kHz) exist while the block runs."""
    with tempfile.TemporaryDirectory(prefix="arl-check-") as folder:
        path = Path(folder) / "tone.wav"
        _write_tone(path)
        clip = AudioSlice(str(path), 0, path.stat().st_size)
        yield [_utterance(clip, *case) for case in _CASES]


def _utterance(clip: AudioSlice, key: str, ref: str, lang: str, texts: list[str]) -> Utterance:
    hyps = []
    for text in texts:
        finish = "length" if len(text) > 200 else "stop"
        hyps.append(RewardHypothesis(text, list(range(10, 10 + len(text))), finish, -0.5 * len(text), clip))
    return Utterance(key, ref, lang, hyps, ref.split()[-1:], {"duration_s": WAV_S, "speaker": "sample"}, clip)


_CASES: list[tuple[str, str, str, list[str]]] = [
    ("one", "press any key to continue", "en", ["press any key to continue"]),
    (
        "twelve", "the quick brown fox", "en",
        [
            "the quick brown fox", "the quick brown fax", "quick brown fox", "the very quick brown fox", "",
            "The QUICK, brown fox!", "fox " * 100, " ", "the the the the", "“quoted” \\ \"back\" \t\n tab",
            "the quick brown fox", "le renard brun été",
        ],
    ),
    ("empty-reference", "", "en", ["", "words that nobody said", "um"]),
    ("all-empty", "nothing was heard", "en", ["", "", ""]),
    ("中文", "你好 世界", "zh", ["你好世界。", "你好时间", ""]),
    ("escapes", "line\u2028separator \U0001f600 nul\u0000", "fr", ["line\u2028separator", "\U0001f600", "e\u0301"]),
    ("unknown-language", "something else", "", ["something else", "something"]),
]  # fmt: skip


def _write_tone(path: Path) -> None:
    samples = (int(8000 * math.sin(2 * math.pi * 220 * i / WAV_RATE)) for i in range(int(WAV_RATE * WAV_S)))
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, WAV_RATE, 0, "NONE", ""))
        stream.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
