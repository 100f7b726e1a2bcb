"""Two runs as loops leave them, by the project's own writers and stages: one of recognition, one of synthesis."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arl.audio.io import encode_flac
from arl.audio.waves import read_waves
from arl.evaluation.folder import write
from arl.evaluation.options import EvalOptions, RecognitionOptions
from arl.evaluation.run import evaluate, record_of
from arl.evaluation.summary import summarise
from arl.evaluation.synthesis.kind import SYNTHESIS
from arl.evaluation.synthesis.measure import Listeners, row_of
from arl.evaluation.synthesis.run import read_utterances
from arl.runtime.stage import Phases
from arl.shards.columns import META, REWARD, ROLLOUT, dumps
from arl.shards.record import StageRecord, append_record
from arl.shards.rows import Reward
from arl.shards.writer import write_shard

TEXTS = ["please hold the line", "press the number", "good morning", "again </script><b>bold</b>"]
STEPS = 8


def tone(hz: float, seconds: float = 0.5) -> np.ndarray:
    """float32 [n] at 16 kHz: a voice-like tone of 8 harmonics."""
    time = np.arange(int(16000 * seconds)) / 16000
    return (0.1 * sum(np.sin(2 * np.pi * hz * n * time) / n for n in range(1, 9))).astype(np.float32)


def keyed(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"u{number}", text) for number, text in enumerate(texts)]


def add_steps(run: Path, names: Sequence[str]) -> None:
    """Steps whose rewards rise while the speakers' similarity falls. names: of the reward's components."""
    for step in range(1, STEPS + 1):
        folder = run / f"step-{step:06d}"
        mean = 0.4 + step / 20
        scores = [[mean - 0.1, mean + 0.1], [mean, mean], [mean + 0.05, mean - 0.05]]
        rows = [Reward({name: group for name in names}, group, [0.0, 0.0]) for group in scores]
        write_shard(folder / "reward" / "0.tar", [(f"r{n}", {REWARD: dumps(row.to_json())})
                                                  for n, row in enumerate(rows)])  # fmt: skip
        add_record(folder / "reward", "reward", groups=3, zero_spread=1, hypotheses=6, metric_means={
            "similarity": 0.9 - step / 30}, component_means=dict.fromkeys(names, mean))  # fmt: skip
        add_record(folder / "rollout", "rollout", tokens_per_s=100.0, truncated=0)
        add_record(folder / "update", "update", reward=mean, kl=0.01 * step, entropy=1 / step, length=9.0,
                   grad_norm=2.0, **({"reward_wer": mean} if "wer" in names else {}))  # fmt: skip
        add_record(folder / "sync", "sync")


def add_record(folder: Path, stage: str, **figures: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    step = int(folder.parent.name.removeprefix("step-"))
    arguments = {"with": [{"name": "wer", "weight": 1.0, "program": "wer.py", "sha256": ["0f" * 32], "arguments": []}]}
    append_record(folder, StageRecord(stage, "0", 3, {"run": 1.5}, 250.0, f"{step - 1:06d}-abc",
                                      arguments=arguments if stage == "reward" else {"loss": "dapo", "lr": 1e-4},
                                      figures=figures))  # fmt: skip


@pytest.fixture(scope="session")
def recognition_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluations by `arl eval --transcripts` of clips in data/test; the second has 6 errors fewer of 7."""
    run = tmp_path_factory.mktemp("pages") / "asr"
    write_shard(run / "data" / "test" / "0.tar", [
        (key, {META: dumps({"text": text, "lang": "en"}), "flac": encode_flac(tone(150 + 20 * n))})
        for n, (key, text) in enumerate(keyed(TEXTS))
    ])  # fmt: skip
    add_steps(run, ["wer"])
    answers_of = {
        "000000": ["what", "dress the", "good morning", "again bold bold"],
        "final": ["please hold the line", "press the", "good morning", "again bold"],
    }
    for name, answers in answers_of.items():
        transcripts = run / f"{name}.tsv"
        transcripts.write_text("".join(f"{key}\t{text}\n" for key, text in keyed(answers)))
        own = RecognitionOptions(transcripts=transcripts)
        evaluate(EvalOptions({"": [str(run / "data" / "test")]}, out=run / "eval" / name, recognition=own))
    return run


@pytest.fixture(scope="session")
def synthesis_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluations of waveforms, by a judge that hears what it is told."""
    run = tmp_path_factory.mktemp("pages") / "tts"
    add_steps(run, ["asr", "duration"])
    write_shard(run / "data" / "test" / "0.tar",
                [(key, {META: dumps({"text": text, "lang": "en"})}) for key, text in keyed(TEXTS)])  # fmt: skip
    answers_of = {
        "000000": ["please", "press", "good morning", "again bold"],
        "final": ["please hold the line", "press the number", "good", "again bold"],
    }
    for (name, answers), hz in zip(answers_of.items(), (120.0, 180.0), strict=True):
        folder = run / "eval" / name
        hyp = {"text": "", "tokens": [1, 2], "logprobs": [-1.0, -1.0], "finish": "stop"}
        rollout = dumps({"policy": "000000-abc", "temperature": 1.0, "hyps": [hyp]})
        write_shard(folder / "rollout" / "0.tar", [(key, {ROLLOUT: rollout}) for key, _ in keyed(TEXTS)])
        write_shard(folder / "wav" / "0.tar", [(key, {"00.flac": encode_flac(tone(hz))}) for key, _ in keyed(TEXTS)])
        sources = [str(path) for path in (run / "data" / "test", folder / "rollout", folder / "wav")]
        options, heard = EvalOptions({"": sources}), iter(answers)
        listeners = Listeners(transcribe=lambda waves, heard=heard: [next(heard) for _ in waves])
        rows = [row_of(one, read_waves(one.hyps, "test"), listeners) for _, one in read_utterances(options.sets)]
        summary = summarise(SYNTHESIS, rows, 0)
        write(folder, rows, summary)
        append_record(folder, record_of(options, folder, Phases(), summary))
    return run
