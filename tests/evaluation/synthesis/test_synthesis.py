"""The metrics of synthesised speech: sums by hand, pairs, and the command on waveforms."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from arl.audio.io import encode_flac, load
from arl.cli.evaluate import evaluate
from arl.errors import ArlError, UsageError
from arl.evaluation import compare as comparison
from arl.evaluation import summary as summaries
from arl.evaluation.folder import read_rows, write
from arl.evaluation.recognition.kind import RECOGNITION
from arl.evaluation.significance import paired_p_value_of_ratios as p_value
from arl.evaluation.synthesis.kind import SYNTHESIS
from arl.evaluation.synthesis.measure import Listeners, row_of
from arl.evaluation.synthesis.metrics import METRICS
from arl.evaluation.synthesis.show import page as markdown
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.columns import PROMPT, ROLLOUT, dumps
from arl.shards.writer import write_shard

RATE = 16000
app = typer.Typer()
app.command()(evaluate)


def summarise(rows, seed):
    return summaries.summarise(SYNTHESIS, rows, seed)


def compare(rows, baseline, seed):
    return comparison.compare(SYNTHESIS, rows, baseline, seed)


def voice(hz, seconds):
    phase = 2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE
    return (0.3 * sum(np.sin(k * phase) / k for k in range(1, 9))).astype(np.float32)


def utterance(key, text, hyps):
    return Utterance(key, text, "en", [RewardHypothesis("", tokens, finish) for tokens, finish in hyps])


def listeners(heard):
    texts = iter(heard)
    return Listeners(
        transcribe=lambda waves: [next(texts) for _ in waves],
        mos=lambda waves: [float(len(wave)) / RATE for wave in waves],
        f0_std=lambda wave: None if len(wave) < RATE else 2.0,
        embed=lambda wave: np.array([0.6, 0.8]),
        voice=lambda utterance: np.array([1.0, 0.0]) if utterance.key == "a" else None,
    )


def rows(waves=((1.0, 2.0), (0.5, None)), heard=("a cat sat", "a hat sat down", "no")):
    """a: one of three words wrong and one too much; b: one of two wrong, and no second waveform."""
    who = listeners(heard)
    waves = [[None if s is None else voice(150, s) for s in group] for group in waves]
    a = row_of(utterance("a", "A cat sat.", [([1, 2, 3, 9], "stop"), ([1, 2, 3, 4, 5, 6], "length")]), waves[0], who)
    b = row_of(utterance("b", "No way!", [([7, 9], "stop"), ([7, 9], "stop")]), waves[1], who)
    return [a, b]


def test_metrics_are_ratios_of_sums():
    found = summarise(rows(), seed=0)
    assert found["utterances"] == 2 and found["hypotheses"] == 4
    expected = {
        "wer": (2 + 1) / (6 + 2), "cer": (1 + 4 + 3) / (14 + 5), "similarity": 0.6, "mos": 3.5 / 3, "seconds": 3.5 / 3,
        "characters_per_s": (7 + 7 + 5) / 3.5, "tokens_per_character": (3 + 6 + 1 + 1) / (7 + 7 + 5 + 5), "f0_std": 2.0,
        "token_diversity": (0.5 + 0.5) / 4, "truncated": 1 / 4, "no_wave": 1 / 4,
    }  # fmt: skip
    assert {metric.name: found[metric.name] for metric in METRICS} == pytest.approx(expected)
    assert all(found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] for name in expected)


def test_what_nothing_listens_to_is_not_defined():
    row = row_of(utterance("a", "go", [([1, 9], "stop")]), [voice(150, 1.0)], Listeners())
    found = summarise([row], seed=0)
    assert [metric.name for metric in METRICS if found[metric.name] is None] == [
        "wer", "cer", "similarity", "mos", "f0_std", "token_diversity"
    ]  # fmt: skip


def test_a_comparison_is_paired():
    a, b = rows(), rows(waves=((2.0, 4.0), (1.0, None)), heard=("a cat sat", "a cat sat", "no way"))
    found = compare(list(reversed(b)), a, seed=0)
    assert found["duration_ratio"] == found["duration_ratio_low"] == found["duration_ratio_high"] == 2.0
    assert found["wer"]["a"] == pytest.approx(3 / 8) and found["wer"]["b"] == 0 and found["wer"]["p"] == 0.5
    assert found["mos"]["change"] == pytest.approx(3.5 / 3) and found["similarity"]["p"] == 1.0
    with pytest.raises(ArlError, match="1 utterances are in one of the two evaluations only, the first b"):
        compare(b[:1], a, seed=0)
    with pytest.raises(ArlError, match="utterance a has another reference"):
        compare([{**b[0], "reference": "a dog sat"}, b[1]], a, seed=0)


def test_the_page():
    made = rows(heard=("a cat | sat", "a hat sat down", "no"))
    made[0]["sample"] = "samples/000.flac"
    summary = summarise(made, seed=0)
    page = markdown(summary, made).splitlines()
    assert page[0] == "# Synthesised speech" and page[2] == "2 utterances, 4 hypotheses."
    assert page[4:6] == ["|  | value | 95 % interval |", "| --- | ---: | ---: |"]
    assert page[6].startswith("| WER, % | 37.50 | ")
    assert page[-1] == r"| [a](samples/000.flac) | A cat sat. | a cat \| sat |"
    compared = {**summary, "compared_with": {"path": "eval/start", **compare(made, made, seed=0)}}
    page = markdown(compared, []).splitlines()
    assert page[6].startswith("| WER, % | 37.50 | ") and page[6].endswith("| 37.50 | +0.00 | +0.00 … +0.00 | 1 |")
    assert page[-1] == "as long as eval/start times 1.000 (1.000 … 1.000)."


def test_p_values():
    rng = np.random.default_rng(0)
    old = rng.normal(4, 0.3, 60)
    assert p_value(old + 0.2 + rng.normal(0, 0.1, 60), old) < 1e-4
    assert p_value(old + rng.normal(0, 0.1, 60), old) > 0.05
    assert p_value(np.array([np.nan, 1.0]), np.array([1.0, np.nan])) is None
    assert p_value(old, old) == 1.0


def test_two_finished_evaluations_by_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, heard in (
        ("start", ("a cat sat", "a hat sat down", "no")),
        ("final", ("a cat sat", "a cat sat", "no way")),
    ):
        made = [{"set": "one" if row["key"] == "a" else "two", **row} for row in rows(heard=heard)]
        found = summaries.summarise(SYNTHESIS, made, seed=0)
        assert found["sets"]["two"]["hypotheses"] == 2 and list(found["sets"]) == ["one", "two"]
        write(tmp_path / name, made, found)
    lines = invoke("--compare", "start", "final").splitlines()
    assert lines[:3] == ["A: start", "B: final", "one"] and lines.count("as long as A times 1.000 (1.000 … 1.000)") == 3
    assert lines[4].split() == ["WER,", "%", "33.33", "0.00", "-33.33", "-33.33", "…", "-33.33", "1"]
    assert lines[lines.index("all sets") + 2].split()[2:5] == ["37.50", "0.00", "-37.50"]
    printed = json.loads(invoke("--compare", "start", "final", "--json"))
    assert printed["b"] == "final" and printed["wer"]["b"] == 0 and printed["changed"] == []
    with pytest.raises(ArlError, match="no field 'set'"):
        write(tmp_path / "old", rows(), {})
        read_rows(tmp_path / "old", RECOGNITION)


@pytest.fixture
def shards(tmp_path):
    """texts, rollout and wav of two utterances with two hypotheses; the prompts name voices."""
    hyp = {"text": "", "tokens": [5, 6, 9], "logprobs": [-1.0] * 3, "finish": "stop"}
    rollouts = {"policy": "000000-abc", "temperature": 1.0, "hyps": [hyp] * 2}
    columns = {
        "texts": lambda key: {"json": dumps({"text": "please hold on", "lang": "en"}),
                              PROMPT: dumps({"input_ids": [1], "max_new_tokens": 9, "voice": f"voice-{key}"})},
        "rollout": lambda key: {ROLLOUT: dumps(rollouts)},
        "wav": lambda key: {f"{i:02d}.flac": encode_flac(voice(100 + 50 * i, 1.0 + i)) for i in range(2)},
    }  # fmt: skip
    for name, members in columns.items():
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / "000000.tar", [(key, members(key)) for key in ("a", "b")])
    return [word for name in columns for word in ("--shards", str(tmp_path / name))]


def invoke(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command(shards, tmp_path):
    if find_spec("resemblyzer") is None:  # its weights are enough: its code cannot be imported
        pytest.skip("resemblyzer is not installed")
    pytest.importorskip("swift_f0")
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "voice-a.wav").write_bytes(encode_flac(voice(100, 1.0)))
    (tmp_path / "voices" / "voice-c.wav").write_bytes(encode_flac(voice(100, 1.0)))
    common = (*shards, "--skip", "wer,mos", "--device", "cpu", "--threads", 1, "--voices", tmp_path / "voices")
    invoke(*common, "-o", tmp_path / "one", "--samples", 1)
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert summary["seconds"] == 1.5 and summary["f0_std"] == pytest.approx(0, abs=0.1) and summary["mos"] is None
    first, second = map(json.loads, (tmp_path / "one" / "utterances.jsonl").read_text().splitlines())
    assert first["hyps"][0]["similarity"] == pytest.approx(1, abs=1e-3) and first["sample"] == "samples/000.flac"
    assert "similarity" not in second["hyps"][0] and "sample" not in second  # nobody knows voice-b
    assert "[a](samples/000.flac) | please hold on | - |" in (tmp_path / "one" / "report.md").read_text()
    assert [file.name for file in (tmp_path / "one" / "samples").iterdir()] == ["000.flac"]
    assert len(load(tmp_path / "one" / "samples" / "000.flac")) == RATE
    shown = invoke(*common, "-o", tmp_path / "two", "--compare", tmp_path / "one")
    assert "duration" not in shown and "times 1.000 (1.000 … 1.000)" in shown and "speaker similarity" in shown
    printed = json.loads(invoke(*common, "-o", tmp_path / "two", "--compare", tmp_path / "one", "--json"))
    assert printed == json.loads((tmp_path / "two" / "summary.json").read_text())
    assert printed["compared_with"]["seconds"] == {
        "a": 1.5, "b": 1.5, "change": 0.0, "change_low": 0.0, "change_high": 0.0, "p": 1.0
    }  # fmt: skip


def test_the_old_name(shards, tmp_path):
    """`arl eval-speech` still works, says that it is old, and measures the same."""
    words = [*shards, "--skip", "wer,similarity,mos,f0", "--samples", "0", "--seed", "3"]
    invoke(*words, "-o", tmp_path / "new")
    command = [sys.executable, "-c", "from arl.cli.main import main; main()", "eval-speech", *words]
    done = subprocess.run([*command, "-o", str(tmp_path / "old")], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == "arl: eval-speech is deprecated: `arl eval` takes the same flags\n"
    assert "tokens/character" in done.stdout
    for name in ("summary.json", "utterances.jsonl", "report.md"):
        assert (tmp_path / "old" / name).read_text() == (tmp_path / "new" / name).read_text()
    helped = subprocess.run([*command[:3], "--help"], capture_output=True, text=True).stdout
    assert " eval " in helped and "eval-speech" not in helped


def test_sets_of_speech(shards, tmp_path):
    sets = [word for path in shards[1::2] for word in ("--set", f"test={path}")]
    shown = invoke(*sets, "--skip", "wer,similarity,mos,f0", "--samples", "0", "-o", tmp_path / "x").splitlines()
    assert shown[0] == "test: 2 utterances, 4 hypotheses" and shown[1].split() == ["value", "95", "%", "interval"]
    (row, _) = map(json.loads, (tmp_path / "x" / "utterances.jsonl").read_text().splitlines())
    assert row["set"] == "test" and row["key"] == "a"


def test_what_cannot_be_asked(shards, tmp_path):
    with pytest.raises(UsageError, match="--skip pitch: of wer, similarity, mos, f0"):
        invoke(*shards, "--skip", "pitch", "-o", tmp_path / "x")
    with pytest.raises(ArlError, match="no evaluation there"):
        invoke(*shards, "--compare", tmp_path / "none", "-o", tmp_path / "x")
    with pytest.raises(ArlError, match="no audio file, no folder of NAME.flac, and no frontend"):
        invoke(*shards, "--skip", "wer,mos", "--voices", tmp_path / "none", "-o", tmp_path / "x")
